import NIOCore
import NIOHTTP1

/// How requests and answers become bytes on an upstream connection. Framing headers are always written by the gateway.
enum UpstreamCodec {
  /// Names of the handlers, so that a tunnel can take them out.
  static let encoderName = "apus.upstream.encoder"
  static let decoderName = "apus.upstream.decoder"

  /// Adds the codec to a fresh pipeline.
  static func add(to pipeline: ChannelPipeline.SynchronousOperations) throws {
    var framing = HTTPRequestEncoder.Configuration()
    framing.automaticallySetFramingHeaders = false
    try pipeline.addHandler(HTTPRequestEncoder(configuration: framing), name: encoderName)
    let decoder = HTTPResponseDecoder(leftOverBytesStrategy: .forwardBytes)
    try pipeline.addHandler(ByteToMessageHandler(decoder), name: decoderName)
  }
}
