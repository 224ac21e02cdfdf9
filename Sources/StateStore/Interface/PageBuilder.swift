/// Collects one page of a list within its bounds.
struct PageBuilder {
  private let limit: Int
  private var items: [StoredObject] = []
  private var bytes = 0
  private var isCut = false

  init(limit: Int) {
    self.limit = limit
  }

  /// Takes the next object; false when the page is full and the object belongs to the next one.
  mutating func add(_ object: StoredObject) -> Bool {
    guard items.count < limit, items.isEmpty || bytes + object.weight <= StoreLimits.pageBytesMax else {
      isCut = true
      return false
    }
    items.append(object)
    bytes += object.weight
    return true
  }

  func list(at revision: Int64) -> StoreList {
    StoreList(items: items, revision: revision, next: isCut ? items.last?.key : nil)
  }
}
