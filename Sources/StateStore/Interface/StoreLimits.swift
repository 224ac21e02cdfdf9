/// The bounds every store keeps; what goes beyond is refused with an error that names the bound.
package enum StoreLimits {
  /// Most operations, and most compares, in one commit.
  package static let operationsMax = 128
  /// Most bytes of keys and values in one commit: 1.5 MiB.
  package static let commitBytesMax = 3 << 19
  /// Longest key in bytes.
  package static let keyBytesMax = 1_024
  /// Most objects on one page of a list.
  package static let pageItemsMax = 1_000
  /// A page of a list ends once it holds this many bytes: 8 MiB.
  package static let pageBytesMax = 8 << 20
  /// Most commits that may wait for the writer.
  package static let pendingCommitsMax = 8_192
  /// Most bytes of commits that may wait for the writer: 64 MiB.
  package static let pendingBytesMax = 64 << 20
  /// Most commits that share one transaction.
  package static let groupCommitsMax = 256
  /// Most bytes that share one transaction, the first commit aside: 4 MiB.
  package static let groupBytesMax = 4 << 20
  /// A watcher hears of progress at least every so many revisions, even if none of them concerned it.
  package static let progressRevisions: Int64 = 1_024

  /// Checks a commit against the bounds and returns its bytes.
  static func check(_ compares: [StoreCompare], _ operations: [StoreOperation]) throws(StoreError) -> Int {
    for count in [compares.count, operations.count] where count > operationsMax {
      throw .tooManyOperations(count: count, limit: operationsMax)
    }
    for compare in compares { try check(key: compare.key) }
    var keys: Set<String> = []
    var bytes = 0
    for operation in operations {
      try check(key: operation.key)
      guard keys.insert(operation.key).inserted else { throw .duplicateKey(operation.key) }
      bytes += operation.bytes
    }
    guard bytes <= commitBytesMax else { throw .tooLarge(bytes: bytes, limit: commitBytesMax) }
    return bytes
  }

  /// Checks a key; only printable ASCII has the same order in every backend.
  static func check(key: String) throws(StoreError) {
    let bytes = key.utf8
    guard (1...keyBytesMax).contains(bytes.count), bytes.allSatisfy({ (0x21...0x7e).contains($0) }) else {
      throw .invalidKey(key)
    }
  }

  /// The half-open range of keys that begin with `prefix` and come after `after`.
  static func range(prefix: String, after: String?) throws(StoreError) -> Range<String> {
    if !prefix.isEmpty { try check(key: prefix) }
    let upper = prefix + "\u{7f}"  // above every character a key may have
    guard let after else { return prefix..<upper }
    try check(key: after)
    let lower = max(prefix, after + "\u{1}")  // below every character a key may have
    return lower..<max(lower, upper)
  }
}
