package import ClusterModel

/// A part of an object that is read and written on its own.
package enum Subresource: String, Codable, Hashable, Sendable {
  case status, scale
}

/// What a list or watch should contain.
package struct ListOptions: Hashable, Sendable {
  /// Labels that must match.
  package var labels = LabelSelector.everything
  /// Fields that must match.
  package var fields = FieldSelector.everything
  /// Objects at most, 0 for all.
  package var limit = 0
  /// Where a paged list goes on.
  package var continueToken: String?

  /// Everything.
  package init() {}
}

/// A list as of one resource version.
package struct ResourceList: Hashable, Sendable {
  /// The objects, by namespace and name.
  package var items: [JSONValue]
  /// The version a watch may resume from.
  package var resourceVersion: String
  /// The token of the next page, when there is one.
  package var continueToken: String?

  /// A page.
  package init(items: [JSONValue], resourceVersion: String, continueToken: String? = nil) {
    self.items = items
    self.resourceVersion = resourceVersion
    self.continueToken = continueToken
  }
}

/// One change of the watched objects.
package enum WatchEvent: Hashable, Sendable {
  /// The object appeared (or entered the selector).
  case added(JSONValue)
  /// The object changed.
  case modified(JSONValue)
  /// The object went (or left the selector); it carries the version of the deletion.
  case deleted(JSONValue)
  /// Nothing happened up to this version; `endsInitial` when everything that was there at the beginning has been told.
  case bookmark(resourceVersion: String, endsInitial: Bool = false)

  /// The word on the wire.
  package var type: String {
    switch self {
    case .added: "ADDED"
    case .modified: "MODIFIED"
    case .deleted: "DELETED"
    case .bookmark: "BOOKMARK"
    }
  }
}

/// The resource API: create, read, change, delete and watch objects of every kind.
///
/// Errors are `APIStatus`. A watch that cannot go on ends by throwing an `APIStatus`, 410 when the version is too old.
package protocol ResourceService: Sendable {
  /// One object.
  func get(_ kind: ResourceKind, namespace: String?, name: String) async throws(APIStatus) -> JSONValue
  /// Objects of a kind; `namespace` nil means all.
  func list(_ kind: ResourceKind, namespace: String?, options: ListOptions) async throws(APIStatus) -> ResourceList
  /// Stores a new object and answers it complete.
  func create(_ kind: ResourceKind, namespace: String?, object: JSONValue) async throws(APIStatus) -> JSONValue
  /// Replaces an object; needs its current `resourceVersion`.
  func update(
    _ kind: ResourceKind, namespace: String?, name: String, subresource: Subresource?, object: JSONValue
  ) async throws(APIStatus) -> JSONValue
  /// Applies a JSON merge patch, retrying on concurrent change unless the patch carries a `resourceVersion`.
  func patch(
    _ kind: ResourceKind, namespace: String?, name: String, subresource: Subresource?, patch: JSONValue
  ) async throws(APIStatus) -> JSONValue
  /// Deletes an object; answers its last state, with a deletionTimestamp when it still winds down.
  func delete(_ kind: ResourceKind, namespace: String?, name: String, uid: String?) async throws(APIStatus) -> JSONValue
  /// Changes after a version; nil starts with ADDED for every present object.
  func watch(
    _ kind: ResourceKind, namespace: String?, options: ListOptions, after resourceVersion: String?
  ) async throws(APIStatus) -> AsyncThrowingStream<WatchEvent, any Error>
}
