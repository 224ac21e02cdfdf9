import ClusterAPI
import NIOCore

/// The pod a connection comes from, as its worker said before the first byte of it.
final class PodCaller: Sendable, Equatable {
  /// Its namespace: the one whose functions it may call.
  let namespace: String
  /// Its function.
  let function: String
  /// Its name.
  let pod: String
  let uid: String
  /// `X-Apus-Caller`, as functions get it.
  let field: [UInt8]

  /// Bytes of the line at most.
  static let lineMaximum = 512

  /// Reads `APUS-POD 1 NAMESPACE FUNCTION POD UID`; nil for anything else.
  init?(line: Substring) {
    let words = line.split(separator: " ", omittingEmptySubsequences: false)
    guard words.count == 6, words[0] == "APUS-POD", words[1] == "1", words[2...].allSatisfy(Self.isName) else {
      return nil
    }
    namespace = String(words[2])
    function = String(words[3])
    pod = String(words[4])
    uid = String(words[5])
    field = Array("x-apus-caller: \(namespace)/\(function)\r\n".utf8)
  }

  private static func isName(_ word: Substring) -> Bool {
    (1...128).contains(word.utf8.count)
      && word.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == UInt8(ascii: "-") }
  }

  static func == (one: PodCaller, other: PodCaller) -> Bool { one.uid == other.uid && one.field == other.field }

  /// Why a pod may not ask for something; nil when it may go on.
  func refusal(of meaning: FunctionTarget.Meaning) -> Refusal? {
    switch meaning {
    case .function, .invoke, .health, .unknown, .malformed: nil
    case .async, .result: Self.onlySynchronous
    }
  }

  /// Asynchronous calls have no place for who made them, and a circle of them would have no end.
  static let onlySynchronous = Refusal(
    .forbidden, "functions call each other at /function/NAME; asynchronous calls are made from outside")
}

/// Reads the line by which a worker says whose connection this is, then leaves the pipeline. A connection without one is
/// closed: nothing of it was read as a request.
final class PodPreamble: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer

  private let client: ClientConnection
  private var buffer = ByteBuffer()

  init(before client: ClientConnection) { self.client = client }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = unwrapInboundIn(data)
    buffer.writeBuffer(&bytes)
    let view = buffer.readableBytesView
    guard let end = view.firstIndex(of: 10) else {
      if view.count > PodCaller.lineMaximum { context.close(promise: nil) }
      return
    }
    guard end - view.startIndex <= PodCaller.lineMaximum,
      let caller = PodCaller(line: String(decoding: view[..<end], as: UTF8.self)[...])
    else { return context.close(promise: nil) }
    buffer.moveReaderIndex(to: end + 1)
    client.caller = caller
    // While it stands in the pipeline still: behind it nothing of it would arrive.
    if buffer.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(buffer)) }
    context.pipeline.syncOperations.removeHandler(self, promise: nil)
  }
}
