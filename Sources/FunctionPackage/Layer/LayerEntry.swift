/// One thing that a layer of a container image does to the layers below it.
struct LayerEntry: Sendable, Hashable {
  enum Kind: Sendable, Hashable {
    case folder
    case file(size: Int64)
    /// Leads wherever it says, seen from the root of the pod that follows it.
    case link(target: [UInt8])
    /// Another name of a file of the same layer.
    case hardLink(to: EntryPath)
    /// Nothing is here, whatever the layers below have.
    case whiteout
    /// Of this folder nothing of the layers below is seen.
    case opaque
  }

  /// Where it lies; nil for the root itself, which only `opaque` may be.
  var path: EntryPath?
  var kind: Kind
  /// Permissions without set-user-id and set-group-id; the sticky bit on folders only.
  var mode: UInt32 = 0o755
  /// Owner and group as the image counts them, 0 …< 65536.
  var user: UInt32 = 0
  var group: UInt32 = 0
  /// Time of the last change, seconds since 1970.
  var modified: Int64 = 0

  /// Users from here on have none of their own on a host.
  static let usersMax: Int64 = 65_536
  /// Who owns what such a user does: nobody.
  static let nobody: UInt32 = 65_534
}

/// Where the entries of a layer go as they are read; every one has been checked.
protocol LayerEntrySink {
  mutating func begin(_ entry: LayerEntry) throws(ArchiveError)
  /// More bytes of the file that began last.
  mutating func write(_ bytes: ArraySlice<UInt8>) throws(ArchiveError)
  /// The file that began last is complete.
  mutating func end() throws(ArchiveError)
}
