import NIOCore
import NIOHTTP1

/// How a client's bytes become requests and answers become bytes. Framing headers are always written by the gateway.
enum ServerCodec {
  static let encoderName = "apus.client.encoder"
  static let decoderName = "apus.client.decoder"

  /// Adds the codec to a fresh pipeline.
  static func add(to pipeline: ChannelPipeline.SynchronousOperations) throws {
    var framing = HTTPResponseEncoder.Configuration()
    framing.automaticallySetFramingHeaders = false
    var limits = NIOHTTPDecoderLimitConfiguration()
    limits.maxHeaderListSize = 2 * GatewayLimits.headBytes
    limits.maxHeaderFieldSize = GatewayLimits.headBytes
    limits.maxHeaderFieldCount = GatewayLimits.headerCount
    try pipeline.addHandler(HTTPResponseEncoder(configuration: framing), name: encoderName)
    let decoder = HTTPRequestDecoder(
      leftOverBytesStrategy: .forwardBytes, informationalResponseStrategy: .drop, limitConfiguration: limits)
    try pipeline.addHandler(
      ByteToMessageHandler(decoder, maximumBufferSize: GatewayLimits.decoderBytes), name: decoderName)
  }
}
