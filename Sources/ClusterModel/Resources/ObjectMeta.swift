/// The metadata every resource carries, after the Kubernetes API conventions.
package struct ObjectMeta: Codable, Hashable, Sendable {
  /// The object's name, a DNS label, unique for its kind and namespace.
  package var name: String
  /// The namespace; nil for cluster-wide kinds.
  package var namespace: String?
  /// A UUIDv7 that no other object, earlier or later, shares.
  package var uid: String?
  /// The store's revision of the last change, as text.
  package var resourceVersion: String?
  /// Counts changes of the spec, from 1.
  package var generation: Int64?
  /// Free labels that selectors match.
  package var labels: [String: String]?
  /// Free notes that nothing matches.
  package var annotations: [String: String]?
  /// When the object was created, in whole seconds.
  package var creationTimestamp: Timestamp?
  /// When deletion was asked for, while the object still winds down.
  package var deletionTimestamp: Timestamp?
  /// What must happen before a deleted object goes away.
  package var finalizers: [String]?
  /// The objects this one belongs to.
  package var ownerReferences: [OwnerReference]?
  /// Field ownership that clients sent; kept, not interpreted.
  package var managedFields: JSONValue?

  /// Metadata with a name and, where the kind has one, a namespace.
  package init(name: String, namespace: String? = nil, labels: [String: String]? = nil) {
    self.name = name
    self.namespace = namespace
    self.labels = labels
  }
}

/// A reference from an object to the one it belongs to.
package struct OwnerReference: Codable, Hashable, Sendable {
  /// The owner's group and version.
  package var apiVersion: String
  /// The owner's kind.
  package var kind: String
  /// The owner's name.
  package var name: String
  /// The owner's uid.
  package var uid: String
  /// Whether the owner manages this object.
  package var controller: Bool?

  /// A reference to a controlling owner.
  package init(apiVersion: String, kind: String, name: String, uid: String, controller: Bool? = true) {
    self.apiVersion = apiVersion
    self.kind = kind
    self.name = name
    self.uid = uid
    self.controller = controller
  }
}

/// One observed aspect of an object: `Ready`, `SourceMissing`, with the reason and when it last changed.
package struct Condition: Codable, Hashable, Sendable {
  /// The aspect, in CamelCase.
  package var type: String
  /// `True`, `False` or `Unknown`.
  package var status: String
  /// A one-word cause in CamelCase.
  package var reason: String
  /// A sentence for people.
  package var message: String
  /// When `status` last changed.
  package var lastTransitionTime: Timestamp
  /// The generation of the spec this was observed for.
  package var observedGeneration: Int64?

  /// A condition as observed at a moment.
  package init(type: String, status: Bool?, reason: String, message: String, at time: Timestamp) {
    self.type = type
    self.status = status.map { $0 ? "True" : "False" } ?? "Unknown"
    self.reason = reason
    self.message = message
    lastTransitionTime = time.wholeSeconds
  }
}

extension [Condition] {
  /// Puts a condition in place of the one of its type; the transition time moves only when the status does.
  package mutating func set(_ condition: Condition) {
    guard let index = firstIndex(where: { $0.type == condition.type }) else { return append(condition) }
    var updated = condition
    if self[index].status == condition.status { updated.lastTransitionTime = self[index].lastTransitionTime }
    self[index] = updated
  }
}
