/// A namespace: a scope for names.
package struct Namespace: Resource {
  /// `Namespace`.
  package static let kind = ResourceKind.namespace
  /// `v1`.
  package var apiVersion = ResourceKind.namespace.apiVersion
  /// `Namespace`.
  package var kind = ResourceKind.namespace.rawValue
  /// The name.
  package var metadata: ObjectMeta
  /// Active or Terminating.
  package var status: NamespaceStatus?

  /// An active namespace.
  package init(name: String) {
    metadata = ObjectMeta(name: name)
    status = NamespaceStatus(phase: "Active")
  }

  /// A namespace's phase.
  package struct NamespaceStatus: Codable, Hashable, Sendable {
    /// `Active` or `Terminating`.
    package var phase: String
  }
}

/// A secret: named values that only pods see. On the wire reads carry no values, only key names and lengths.
package struct Secret: Resource {
  /// `Secret`.
  package static let kind = ResourceKind.secret
  /// `v1`.
  package var apiVersion = ResourceKind.secret.apiVersion
  /// `Secret`.
  package var kind = ResourceKind.secret.rawValue
  /// Name and namespace.
  package var metadata: ObjectMeta
  /// `Opaque`.
  package var type: String?
  /// Key → base64 of the value. In answers: absent.
  package var data: [String: String]?
  /// Key → length in bytes, in answers.
  package var lengths: [String: Int]?

  /// A secret without values.
  package init(metadata: ObjectMeta) { self.metadata = metadata }
}

/// What happened to which object, why and how often.
package struct Event: Resource {
  /// `Event`.
  package static let kind = ResourceKind.event
  /// `v1`.
  package var apiVersion = ResourceKind.event.apiVersion
  /// `Event`.
  package var kind = ResourceKind.event.rawValue
  /// A name made from the object's and a sequence.
  package var metadata: ObjectMeta
  /// The object it happened to.
  package var involvedObject: ObjectReference
  /// A one-word cause in CamelCase.
  package var reason: String
  /// A sentence for people.
  package var message: String
  /// `Normal` or `Warning`.
  package var type: String
  /// How often it was seen.
  package var count: Int
  /// When first.
  package var firstTimestamp: Timestamp
  /// When last.
  package var lastTimestamp: Timestamp
  /// Who saw it.
  package var source: EventSource

  /// An event seen once.
  package init(
    metadata: ObjectMeta, about object: ObjectReference, reason: String, message: String, warning: Bool,
    component: String, at time: Timestamp
  ) {
    self.metadata = metadata
    involvedObject = object
    self.reason = reason
    self.message = message
    type = warning ? "Warning" : "Normal"
    count = 1
    firstTimestamp = time
    lastTimestamp = time
    source = EventSource(component: component)
  }

  /// Who saw an event.
  package struct EventSource: Codable, Hashable, Sendable {
    /// `control-plane`, `worker` …
    package var component: String?
  }
}

/// A reference to an object, as events carry it.
package struct ObjectReference: Codable, Hashable, Sendable {
  /// The kind's name.
  package var kind: String
  /// The namespace, if it has one.
  package var namespace: String?
  /// The name.
  package var name: String
  /// The uid, if known.
  package var uid: String?
  /// The group and version.
  package var apiVersion: String?

  /// A reference to an object of a kind.
  package init(_ kind: ResourceKind, namespace: String?, name: String, uid: String? = nil) {
    self.kind = kind.rawValue
    self.namespace = namespace
    self.name = name
    self.uid = uid
    apiVersion = kind.apiVersion
  }
}
