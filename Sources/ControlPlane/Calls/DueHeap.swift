import ClusterModel

/// Call ids by the moment at which something is due for them, the earliest first. An id may stand in it more than once:
/// who takes one out asks whether it still holds.
struct DueHeap {
  private var items: [(due: Timestamp, id: String)] = []

  /// When the first is due; nil when it is empty.
  var first: Timestamp? { items.first?.due }
  var count: Int { items.count }

  mutating func insert(_ id: String, at due: Timestamp) {
    items.append((due, id))
    var index = items.count - 1
    while index > 0, items[index].due < items[(index - 1) / 2].due {
      items.swapAt(index, (index - 1) / 2)
      index = (index - 1) / 2
    }
  }

  /// Takes out the first id that is due by `now`.
  mutating func pop(dueBy now: Timestamp) -> String? {
    guard let top = items.first, top.due <= now else { return nil }
    let last = items.removeLast()
    guard !items.isEmpty else { return top.id }
    items[0] = last
    var index = 0
    while true {
      var least = index
      for child in [2 * index + 1, 2 * index + 2] where child < items.count && items[child].due < items[least].due {
        least = child
      }
      guard least != index else { return top.id }
      items.swapAt(index, least)
      index = least
    }
  }
}
