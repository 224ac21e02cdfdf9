/// One object as the store holds it: bytes under a key, with the revisions of its creation and last change.
package struct StoredObject: Sendable, Hashable {
  /// The key: 1 … `StoreLimits.keyBytesMax` printable ASCII characters without spaces.
  package let key: String
  /// The bytes as they were written.
  package let value: [UInt8]
  /// The revision that created the object; a key deleted and put again gets a new one.
  package let createRevision: Int64
  /// The revision of the last change.
  package let modRevision: Int64
  /// How often the object was put since its creation; 1 right after it.
  package let version: Int64
  /// When the object may be removed by `StateStore.expire`, in milliseconds since 1970; nil keeps it.
  package let expires: Int64?

  /// An object with every field given; `version` starts at 1.
  package init(
    key: String, value: [UInt8], createRevision: Int64, modRevision: Int64, version: Int64, expires: Int64? = nil
  ) {
    self.key = key
    self.value = value
    self.createRevision = createRevision
    self.modRevision = modRevision
    self.version = version
    self.expires = expires
  }

  /// What the object weighs in memory, in bytes, roughly.
  var weight: Int { key.utf8.count + value.count + 96 }
}

/// One page of a list, all of it at one revision.
package struct StoreList: Sendable, Hashable {
  /// The objects, ordered by the bytes of their keys.
  package let items: [StoredObject]
  /// The revision the page shows: the `at` of the next page, and the `after` of a watch that continues the list.
  package let revision: Int64
  /// The key to give as `after` for the next page; nil when this was the last.
  package let next: String?

  /// A page with its revision.
  package init(items: [StoredObject], revision: Int64, next: String?) {
    self.items = items
    self.revision = revision
    self.next = next
  }
}

/// One change of one object.
package struct StoreEvent: Sendable, Hashable {
  /// The key that changed.
  package let key: String
  /// The revision of the change; for a deletion this is where the object's absence begins.
  package let revision: Int64
  /// The object after the change; nil when it was deleted.
  package let object: StoredObject?
  /// The object before the change; nil when it was created.
  package let previous: StoredObject?

  /// A change from `previous` to `object`.
  package init(key: String, revision: Int64, object: StoredObject?, previous: StoredObject?) {
    self.key = key
    self.revision = revision
    self.object = object
    self.previous = previous
  }

  var weight: Int { key.utf8.count + 64 + (object?.weight ?? 0) + (previous?.weight ?? 0) }
}

/// Everything a watch has to say about one revision; without events it is progress: nothing matched up to there.
package struct StoreWatchBatch: Sendable, Hashable {
  /// The revision up to which the watcher now knows everything; a watch resumes with it as `after`.
  package let revision: Int64
  /// The matching changes of that revision, in the order in which they were written; empty for progress.
  package let events: [StoreEvent]

  /// A batch of the events of one revision.
  package init(revision: Int64, events: [StoreEvent]) {
    self.revision = revision
    self.events = events
  }

  /// True when the batch carries no events and only moves the point of resumption.
  package var isProgress: Bool { events.isEmpty }
}
