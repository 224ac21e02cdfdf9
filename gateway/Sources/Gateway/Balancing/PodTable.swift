/// The pods of one function, looked at in place: reading one copies nothing.
struct PodTable {
  /// Pods up to this many are searched one by one.
  private static let few = 8

  /// The pods, in an order without meaning.
  private(set) var values: [PodState] = []
  /// Where each stands, by its uid.
  private var places: [String: Int] = [:]

  var isEmpty: Bool { values.isEmpty }

  /// A pod by its uid; set to nil it is taken out.
  subscript(uid: String) -> PodState? {
    get { places[uid].map { values[$0] } }
    set {
      guard let newValue else {
        removeValue(forKey: uid)
        return
      }
      if let place = places[uid] {
        values[place] = newValue
      } else {
        places[uid] = values.count
        values.append(newValue)
      }
    }
  }

  /// A pod by its place, which holds until one is taken out.
  subscript(place: Int) -> PodState {
    _read { yield values[place] }
    _modify { yield &values[place] }
  }

  /// Where a start of a pod stands; nil when it is not the one known.
  func place(of key: PodKey) -> Int? {
    guard values.count > Self.few else { return values.firstIndex { $0.start.key == key } }
    return places[key.uid].flatMap { values[$0].start.key == key ? $0 : nil }
  }

  /// Takes a pod out; the last one takes its place.
  @discardableResult
  mutating func removeValue(forKey uid: String) -> PodState? {
    guard let place = places.removeValue(forKey: uid) else { return nil }
    let removed = values[place]
    let last = values.removeLast()
    if place < values.count {
      values[place] = last
      places[last.key.uid] = place
    }
    return removed
  }
}
