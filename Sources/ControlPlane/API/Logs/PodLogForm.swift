internal import ClusterModel

/// How a pod's log records look as text.
struct PodLogForm: Sendable {
  /// Whether each line starts with its time.
  let timestamps: Bool
  /// Bytes written at most.
  let bytesMax: Int

  /// The line of a record, its newline included, taken from a budget of bytes; nil for what is no record, or when the
  /// budget is used up.
  func text(of record: [UInt8], budget: inout Int) -> String? {
    guard budget > 0, let value = try? JSONValue(bytes: record), let message = value["msg"]?.stringValue else {
      return nil
    }
    var text = timestamps ? (value["time"]?.stringValue ?? "") + " " : ""
    text += message
    for (key, field) in (value["fields"]?.objectValue ?? [:]).sorted(by: { $0.key < $1.key }) {
      let shown = field.stringValue ?? String(decoding: field.encoded(), as: UTF8.self)
      text += " \(key)=\(shown.contains(" ") ? "\"\(shown)\"" : shown)"
    }
    text += "\n"
    if text.utf8.count > budget { text = String(decoding: text.utf8.prefix(budget), as: UTF8.self) }
    budget -= text.utf8.count
    return text
  }
}

/// A pod's past lines and then its new ones, each once.
struct PodLogTail: Sendable {
  /// The last lines of the past that are remembered, so that following does not repeat them.
  static let rememberedMax = 4096

  /// Past records, oldest first.
  let past: [[UInt8]]
  /// New records as they come.
  let live: AsyncThrowingStream<[UInt8], any Error>
  /// How they look.
  let form: PodLogForm

  /// The text, line by line; it ends when the budget of bytes is used up.
  var stream: AsyncThrowingStream<String, any Error> {
    let (stream, sink) = AsyncThrowingStream<String, any Error>.makeStream(
      bufferingPolicy: .bufferingOldest(past.count + Self.rememberedMax))
    let pump = Task {
      var budget = form.bytesMax
      var remembered = Set(past.suffix(Self.rememberedMax))
      do {
        for record in past {
          if let text = form.text(of: record, budget: &budget) { sink.yield(text) }
        }
        for try await record in live where budget > 0 {
          if remembered.remove(record) != nil { continue }
          guard let text = form.text(of: record, budget: &budget) else { continue }
          if case .dropped = sink.yield(text) { break }
          if budget <= 0 { break }
        }
        sink.finish()
      } catch {
        sink.finish(throwing: error)
      }
    }
    sink.onTermination = { _ in pump.cancel() }
    return stream
  }
}
