import ClusterAPI
import ClusterModel

/// What is known of a call when it ended: the access record and every metric come from it.
struct CallRecord: Sendable {
  var time: Timestamp
  var namespace = ""
  var function = ""
  var revision = ""
  var pod = ""
  var node = ""
  var call = ""
  var method = ""
  var path = ""
  var status = 0
  /// The platform's own error code; nil when the function answered.
  var code: CallErrorCode?
  /// What went wrong, for people.
  var message: String?
  /// Milliseconds from the request's head to the end of the answer.
  var duration = 0.0
  /// Milliseconds from the request's head to the first byte of the answer.
  var firstByte: Double?
  /// Milliseconds waited for a pod.
  var queued = 0.0
  var bytesIn: Int64 = 0
  var bytesOut: Int64 = 0
  /// Whether it waited for a pod to start.
  var cold = false
  var startup: StartupBreakdown?
  /// Whether the client went away before the end.
  var clientGone = false
  /// Times it was sent to another pod.
  var retries = 0

  init(time: Timestamp) { self.time = time }
}

extension CallRecord {
  /// The access record as one NDJSON line (without the newline) of the log schema.
  ///
  /// Written by hand: it is made for every call, and the general encoder costs twenty times as much.
  func logLine() -> [UInt8] {
    var out = JSONLine()
    out.open()
    out.text("time", time.text(digits: 9))
    out.text("namespace", namespace)
    out.text("function", function)
    out.text("revision", revision)
    out.text("pod", pod)
    out.text("node", node)
    out.text("stream", LogStream.access.rawValue)
    out.text("level", (status >= 500 ? LogLevel.error : .info).rawValue)
    out.text("call", call)
    out.text("msg", "\(method) \(path) \(status) \(Self.short(duration))ms")
    out.key("fields")
    out.open()
    out.int("status", Int64(status))
    out.number("duration_ms", duration)
    out.number("queue_ms", queued)
    out.int("bytes_in", bytesIn)
    out.int("bytes_out", bytesOut)
    out.text("method", method)
    out.text("path", path)
    if let firstByte { out.number("first_byte_ms", firstByte) }
    if let code { out.text("code", code.rawValue) }
    if let message { out.text("error", message) }
    if clientGone { out.bool("client_gone", true) }
    if retries > 0 { out.int("retries", Int64(retries)) }
    if cold {
      out.bool("cold", true)
      if let startup {
        if let value = startup.placed { out.number("cold_placed_ms", value) }
        if let value = startup.prepared { out.number("cold_prepared_ms", value) }
        if let value = startup.sandboxed { out.number("cold_sandboxed_ms", value) }
        if let value = startup.ready { out.number("cold_ready_ms", value) }
      }
      out.number("cold_total_ms", firstByte ?? duration)
    }
    out.close()
    out.close()
    return out.bytes
  }

  /// Milliseconds with one digit after the point, for the message.
  static func short(_ milliseconds: Double) -> String {
    let tenths = Int64((max(0, min(milliseconds, 1e12)) * 10).rounded())
    return "\(tenths / 10).\(tenths % 10)"
  }
}

/// Writes one JSON object into bytes.
struct JSONLine {
  private(set) var bytes: [UInt8] = []
  private var needsComma = false

  init() { bytes.reserveCapacity(640) }

  mutating func open() {
    bytes.append(UInt8(ascii: "{"))
    needsComma = false
  }

  mutating func close() {
    bytes.append(UInt8(ascii: "}"))
    needsComma = true
  }

  mutating func key(_ key: String) {
    if needsComma { bytes.append(UInt8(ascii: ",")) }
    string(key)
    bytes.append(UInt8(ascii: ":"))
    needsComma = true
  }

  mutating func text(_ name: String, _ value: String) {
    key(name)
    string(value)
  }

  mutating func int(_ name: String, _ value: Int64) {
    key(name)
    bytes.append(contentsOf: String(value).utf8)
  }

  /// A number with three digits after the point; what is not finite becomes 0.
  mutating func number(_ name: String, _ value: Double) {
    key(name)
    let finite = value.isFinite ? max(-1e12, min(1e12, value)) : 0
    bytes.append(contentsOf: String((finite * 1000).rounded() / 1000).utf8)
  }

  mutating func bool(_ name: String, _ value: Bool) {
    key(name)
    bytes.append(contentsOf: (value ? "true" : "false").utf8)
  }

  private mutating func string(_ value: String) {
    bytes.append(UInt8(ascii: "\""))
    for byte in value.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        bytes.append(UInt8(ascii: "\\"))
        bytes.append(byte)
      case 0x0A: bytes.append(contentsOf: "\\n".utf8)
      case 0x0D: bytes.append(contentsOf: "\\r".utf8)
      case 0x09: bytes.append(contentsOf: "\\t".utf8)
      case 0..<0x20:
        bytes.append(contentsOf: "\\u00".utf8)
        bytes.append(Self.hex[Int(byte >> 4)])
        bytes.append(Self.hex[Int(byte & 15)])
      default: bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }

  private static let hex = Array("0123456789abcdef".utf8)
}
