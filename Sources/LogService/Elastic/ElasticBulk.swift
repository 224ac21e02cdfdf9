internal import ClusterModel

/// The body of `_bulk`: lines of actions, each with its document behind it; pure.
///
/// Logs are only added to: `index` and `create` add a record, `update` and `delete` are refused item by item.
struct ElasticBulk {
  /// Actions of one body, at most.
  static let itemsMaximum = 100_000

  /// What becomes of one action.
  struct Item {
    /// `index`, `create`, `update` or `delete`.
    var action: String
    /// The index it names.
    var index: String
    /// The id it names.
    var id: String?
    /// Its record's line, or why there is none.
    var line: Result<[UInt8], ElasticError>
  }

  private(set) var items: [Item] = []

  /// Reads a body and masks its documents; `index` is of the path. Throws for a body that is not of this form: then nothing of it is taken.
  init(_ body: [UInt8], index: String?, masks: LogMasks = .standard, now: Int64) throws(ElasticError) {
    guard body.last == 0x0A else {
      throw ElasticError(
        400, "illegal_argument_exception", "The bulk request must be terminated by a newline [\\n]")
    }
    var lines = body.split(separator: 0x0A, omittingEmptySubsequences: true)[...]
    var number: Int64 = 0
    while let head = lines.popFirst() {
      if head.allSatisfy({ $0 == 0x20 || $0 == 0x0D || $0 == 0x09 }) { continue }
      guard items.count < Self.itemsMaximum else {
        throw ElasticError(413, "content_too_long_exception", "more than \(Self.itemsMaximum) actions in one request")
      }
      guard let action = JSONSlice(head), action.kind == .object, action.members.count == 1,
        let (name, about) = action.members.first, ["index", "create", "update", "delete"].contains(name)
      else {
        throw ElasticError(
          400, "illegal_argument_exception",
          "Malformed action/metadata line [\(items.count + 1)], expected index, create, update or delete, each with an "
            + "object")
      }
      var document: ArraySlice<UInt8>?
      if name != "delete" {
        guard let next = lines.popFirst() else {
          throw ElasticError(400, "illegal_argument_exception", "action [\(items.count + 1)] has no document behind it")
        }
        document = next
      }
      // Records of one moment keep their order by a nanosecond each.
      items.append(try Self.item(name, about, document, index: index, masks: masks, now: now + number))
      number += 1
    }
    guard !items.isEmpty else {
      throw ElasticError(400, "action_request_validation_exception", "Validation Failed: 1: no requests added;")
    }
  }

  private static func item(
    _ name: String, _ about: JSONSlice, _ document: ArraySlice<UInt8>?, index: String?, masks: LogMasks, now: Int64
  ) throws(ElasticError) -> Item {
    guard let index = about["_index"]?.string ?? index else {
      throw ElasticError(400, "action_request_validation_exception", "Validation Failed: 1: index is missing;")
    }
    let id = about["_id"]?.text
    guard let document, name == "index" || name == "create" else {
      return Item(
        action: name, index: index, id: id,
        line: .failure(.unsupported("[\(name)] is not for logs: records are added, and go by their retention")))
    }
    return Item(action: name, index: index, id: id, line: line(document, index: index, id: id, masks: masks, now: now))
  }

  /// The record's line of a document, masked.
  static func line(
    _ document: ArraySlice<UInt8>, index: String, id: String?, masks: LogMasks, now: Int64
  ) -> Result<[UInt8], ElasticError> {
    Result { () throws(ElasticError) in
      try ElasticIndices.check(index)
      guard let document = JSONSlice(document) else {
        throw ElasticError(400, "document_parsing_exception", "failed to parse: the document is not JSON")
      }
      var record = try ElasticDocument.record(document, index: index, id: id, now: now)
      do throws(PushFault) { return try record.line(masks) } catch {
        throw ElasticError(400, "document_parsing_exception", "failed to parse: \(error)")
      }
    }
  }

  /// What an item is answered, by its record's number or the error.
  static func answer(_ item: Item, _ result: Result<String, ElasticError>) -> JSONValue {
    var about: [String: JSONValue] = ["_index": .string(item.index)]
    switch result {
    case .success(let id):
      about["_id"] = .string(id)
      for (key, value) in written { about[key] = value }
    case .failure(let error):
      if let id = item.id { about["_id"] = .string(id) }
      about["status"] = .int(Int64(error.status))
      about["error"] = error.cause
    }
    return .object([item.action: .object(about)])
  }

  /// What is the same of every record that was written.
  static let written: [String: JSONValue] = [
    "_version": .int(1), "result": .string("created"), "status": .int(201), "_seq_no": .int(0),
    "_primary_term": .int(1),
    "_shards": .object(["total": .int(1), "successful": .int(1), "failed": .int(0)]),
  ]
}

/// Indices: each is the namespace of its name.
struct ElasticIndices: Equatable {
  /// Names at most in one request.
  static let namesMaximum = 100

  /// The namespaces searched; nil for all, or where a pattern is among the names.
  private(set) var namespaces: [String]?
  /// A filter for names with patterns.
  private(set) var filter: String?

  /// The indices that a path names: names and patterns with commas; nil, `_all` and `*` are all of them.
  init(_ expression: String?) throws(ElasticError) {
    let names = (expression ?? "").split(separator: ",").map(String.init)
    guard names.count <= Self.namesMaximum else { throw .unsupported("more than \(Self.namesMaximum) index names") }
    if names.isEmpty || names.contains("_all") || names.contains("*") { return }
    guard !names.contains(where: { $0.hasPrefix("-") || $0.contains("<") }) else {
      throw .unsupported("index names with - or <> are not there; name the indices, or use patterns with *")
    }
    if names.contains(where: { $0.contains("*") }) {
      filter = QueryWords.any(
        names.map { name in
          "namespace:" + (name.contains("*") ? QueryWords.pattern(name) : QueryWords.quoted(name))
        })
    } else {
      namespaces = names
    }
  }

  /// Throws unless a name can be an index's.
  static func check(_ name: String) throws(ElasticError) {
    let isPlain = name.utf8.allSatisfy { byte in
      switch byte {
      case 0x30...0x39, 0x61...0x7A, 0x2D, 0x2E, 0x5F: true
      default: false
      }
    }
    guard isPlain, (1...253).contains(name.utf8.count), !["-", "_", "."].contains(String(name.prefix(1))) else {
      throw ElasticError(
        400, "invalid_index_name_exception",
        "Invalid index name [\(name.prefix(100))], must be lowercase letters, digits, `-`, `_` and `.`, 253 at most, and "
          + "start with a letter or digit")
    }
  }
}
