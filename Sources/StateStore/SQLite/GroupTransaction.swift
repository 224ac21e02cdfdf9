import Foundation
import GRDB

/// Applies a group of commits inside one transaction: each rests on its own compares and gets its own revision.
struct GroupTransaction {
  private let db: Database
  /// The newest revision so far, those of this transaction included.
  private(set) var head: Int64
  /// What to announce once the transaction is durable.
  private(set) var batches: [StoreWatchBatch] = []

  /// Begins at the revision `head` on the writer's connection.
  init(_ db: Database, head: Int64) {
    self.db = db
    self.head = head
  }

  /// Applies one commit; its conflict is its own answer, a failure of the database is the whole group's.
  mutating func apply(_ request: CommitRequest) throws -> Result<Int64, StoreError> {
    var loaded: [String: StoredObject?] = [:]
    for compare in request.compares {
      let object = try load(compare.key, &loaded)
      guard compare.holds(for: object) else {
        return .failure(.conflict(key: compare.key, current: object?.modRevision))
      }
    }
    let revision = head + 1
    var events: [StoreEvent] = []
    for operation in request.operations {
      let previous = try load(operation.key, &loaded)
      switch operation {
      case .put(let key, let value, let expires):
        let object = StoredObject(
          key: key, value: value, createRevision: previous?.createRevision ?? revision, modRevision: revision,
          version: (previous?.version ?? 0) + 1, expires: expires)
        try put(object, previous: previous, sub: events.count)
        events.append(StoreEvent(key: key, revision: revision, object: object, previous: previous))
      case .delete(let key):
        guard let previous else { continue }
        try delete(previous, revision: revision, sub: events.count)
        events.append(StoreEvent(key: key, revision: revision, object: nil, previous: previous))
      }
    }
    guard !events.isEmpty else { return .success(head) }
    head = revision
    batches.append(StoreWatchBatch(revision: revision, events: events))
    return .success(revision)
  }

  /// Writes the newest revision; call before the transaction is committed.
  func finish() throws {
    try db.cachedStatement(sql: "UPDATE meta SET revision = ? WHERE id = 1").execute(arguments: [head])
  }

  private func load(_ key: String, _ loaded: inout [String: StoredObject?]) throws -> StoredObject? {
    if let known = loaded[key] { return known }
    let object = try SQLiteReads.object(key, db)
    loaded.updateValue(object, forKey: key)
    return object
  }

  private func put(_ object: StoredObject, previous: StoredObject?, sub: Int) throws {
    let value = Data(object.value)
    let upsert = try db.cachedStatement(
      sql: """
        INSERT INTO kv (key, value, create_rev, mod_rev, version, lease) VALUES (?, ?, ?, ?, ?, ?)
        ON CONFLICT (key) DO UPDATE SET value = excluded.value, create_rev = excluded.create_rev,
          mod_rev = excluded.mod_rev, version = excluded.version, lease = excluded.lease
        """)
    try upsert.execute(
      arguments: [
        object.key, value, object.createRevision, object.modRevision, object.version, object.expires,
      ])
    try log(object, .put, revision: object.modRevision, previous: previous?.modRevision ?? 0, value: value, sub: sub)
  }

  private func delete(_ previous: StoredObject, revision: Int64, sub: Int) throws {
    try db.cachedStatement(sql: "DELETE FROM kv WHERE key = ?").execute(arguments: [previous.key])
    try log(previous, .delete, revision: revision, previous: previous.modRevision, value: nil, sub: sub)
  }

  private func log(
    _ object: StoredObject, _ operation: SQLiteSchema.Operation, revision: Int64, previous: Int64, value: Data?,
    sub: Int
  ) throws {
    let insert = try db.cachedStatement(
      sql: """
        INSERT INTO log (rev, sub, key, op, prev_rev, value, create_rev, version, lease)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
        """)
    try insert.execute(
      arguments: [
        revision, sub, object.key, operation.rawValue, previous, value, object.createRevision, object.version,
        object.expires,
      ])
  }
}
