import ClusterAPI
import ClusterModel
import NIOCore

/// What is known of a call when it ended: the access record and every metric come from it.
struct CallRecord {
  var time: Timestamp
  /// Its function; nil when the request was for none.
  var info: RouteInfo?
  /// The namespace asked for, where there is no function.
  var namespace = ""
  /// The pod it was sent to last.
  var pod: PodStart?
  /// What the client sent, as far as it is told.
  var text: CallText
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
  /// Whether the client went away before the end.
  var clientGone = false
  /// Times it was sent to another pod.
  var retries = 0

  init(time: Timestamp, text: CallText) {
    self.time = time
    self.text = text
  }
}

/// The client's words in an access record: offsets into bytes that hold them anyway, the head that was sent to the pod.
struct CallText {
  var bytes = ByteBuffer()
  var method = Span.none
  /// The path, without the query: `prefix`, then `rest`.
  var prefix = Span.none
  var rest = Span.none
  var call = Span.none

  /// Words that are not in a head.
  init(method: String, path: String, call: String) {
    bytes.writeString(method)
    self.method = Span(start: 0, end: bytes.writerIndex)
    bytes.writeString(path)
    prefix = Span(start: self.method.end, end: bytes.writerIndex)
    bytes.writeString(call)
    self.call = Span(start: prefix.end, end: bytes.writerIndex)
  }

  init() {}

  /// The call id.
  var callID: String { bytes.withUnsafeReadableBytes { call.text($0) } }
}

extension CallRecord {
  /// Writes the access record as one NDJSON line of the log schema, with its newline.
  ///
  /// Written by hand: it is made for every call, and the general encoder costs twenty times as much.
  func write(into out: inout ByteBuffer, clock: inout TimeText) {
    let members = pod?.recordMembers ?? membersWithoutPod
    let message = message ?? ""
    let words = text.method.count + text.prefix.count + text.rest.count + text.call.count
    // What is quoted grows six times at most, and method and path are written twice.
    out.write(room: members.count + 12 * words + 6 * message.utf8.count + 768) { out in
      text.bytes.withUnsafeReadableBytes { bytes in
        out.put(#"{"time":""#)
        clock.write(time, into: &out)
        out.put("\"")
        out.put(members)
        if status >= 500 { out.put("error") } else { out.put("info") }
        out.put(#"","call":""#)
        out.put(json: text.call.of(bytes))
        out.put(#"","msg":""#)
        let method = out.count
        out.put(json: text.method.of(bytes))
        out.put(" ")
        let path = out.count
        out.put(json: text.prefix.of(bytes))
        out.put(json: text.rest.of(bytes))
        let pathEnd = out.count
        out.put(" ")
        out.put(decimal: Int64(status))
        out.put(" ")
        out.put(fixed: duration, digits: 1)
        out.put(#"ms","fields":{"status":"#)
        out.put(decimal: Int64(status))
        out.put(#","duration_ms":"#)
        out.put(fixed: duration, digits: 3)
        out.put(#","queue_ms":"#)
        out.put(fixed: queued, digits: 3)
        out.put(#","bytes_in":"#)
        out.put(decimal: bytesIn)
        out.put(#","bytes_out":"#)
        out.put(decimal: bytesOut)
        out.put(#","method":""#)
        out.put(again: method..<(path - 1))
        out.put(#"","path":""#)
        out.put(again: path..<pathEnd)
        out.put("\"")
        writeRest(&out, message)
        out.put("}}\n")
      }
    }
  }

  /// The members that most calls have not.
  private func writeRest(_ out: inout ByteWriter, _ message: String) {
    if let firstByte {
      out.put(#","first_byte_ms":"#)
      out.put(fixed: firstByte, digits: 3)
    }
    if let code {
      out.put(#","code":""#)
      out.put(text: code.rawValue)
      out.put("\"")
    }
    if !message.isEmpty {
      out.put(#","error":""#)
      var message = message
      message.withUTF8 { out.put(json: UnsafeRawBufferPointer($0)) }
      out.put("\"")
    }
    if clientGone { out.put(#","client_gone":true"#) }
    if retries > 0 {
      out.put(#","retries":"#)
      out.put(decimal: Int64(retries))
    }
    guard cold else { return }
    out.put(#","cold":true"#)
    if let startup = pod?.endpoint.startup {
      let phases: [(StaticString, Double?)] = [
        (#","cold_placed_ms":"#, startup.placed), (#","cold_prepared_ms":"#, startup.prepared),
        (#","cold_sandboxed_ms":"#, startup.sandboxed), (#","cold_started_ms":"#, startup.started),
        (#","cold_ready_ms":"#, startup.ready),
      ]
      for (name, value) in phases {
        guard let value else { continue }
        out.put(name)
        out.put(fixed: value, digits: 3)
      }
    }
    out.put(#","cold_total_ms":"#)
    out.put(fixed: firstByte ?? duration, digits: 3)
  }

  private var membersWithoutPod: [UInt8] {
    let named = namespace.isEmpty ? "default" : namespace
    guard let route = info?.route else {
      return Self.members(namespace: named, function: "", revision: "", pod: "", node: "")
    }
    return Self.members(
      namespace: route.namespace, function: route.function, revision: route.revision ?? "", pod: "", node: "")
  }

  /// The members between time and level, the same for many calls.
  static func members(namespace: String, function: String, revision: String, pod: String, node: String) -> [UInt8] {
    var out = ByteBuffer()
    let names = [namespace, function, revision, pod, node]
    out.write(room: 160 + 6 * names.reduce(0) { $0 + $1.utf8.count }) { out in
      let keys: [StaticString] = [
        #","namespace":""#, #"","function":""#, #"","revision":""#, #"","pod":""#, #"","node":""#,
      ]
      for (key, name) in zip(keys, names) {
        out.put(key)
        var name = name
        name.withUTF8 { out.put(json: UnsafeRawBufferPointer($0)) }
      }
      out.put(#"","stream":""#)
      out.put(text: LogStream.access.rawValue)
      out.put(#"","level":""#)
    }
    return Array(out.readableBytesView)
  }
}

/// The wall clock as text, most of which stays the same within a second.
struct TimeText {
  private var second = Int64.min
  private var text: [UInt8] = []

  /// Writes RFC 3339 in UTC with nine digits after the point, 30 bytes.
  mutating func write(_ time: Timestamp, into out: inout ByteWriter) {
    let fraction = ((time.nanoseconds % 1_000_000_000) + 1_000_000_000) % 1_000_000_000
    let second = (time.nanoseconds - fraction) / 1_000_000_000
    if second != self.second {
      self.second = second
      text = Array(Timestamp(nanoseconds: second * 1_000_000_000).text(digits: 0).utf8.dropLast())
    }
    out.put(text)
    out.put(".")
    out.put(decimal: fraction, digits: 9)
    out.put("Z")
  }
}

extension ByteWriter {
  /// Text inside the quotes of a JSON string; six times its length at most. What is not UTF-8 is written as it is.
  mutating func put(json bytes: UnsafeRawBufferPointer) {
    var start = 0
    var index = ByteScan.jsonEscape(bytes, from: 0)
    while index < bytes.count {
      put(UnsafeRawBufferPointer(rebasing: bytes[start..<index]))
      start = index + 1
      let byte = bytes[index]
      index = ByteScan.jsonEscape(bytes, from: start)
      switch byte {
      case UInt8(ascii: "\""): put(#"\""#)
      case UInt8(ascii: "\\"): put(#"\\"#)
      case 0x0A: put(#"\n"#)
      case 0x0D: put(#"\r"#)
      case 0x09: put(#"\t"#)
      default:
        put(#"\u00"#)
        put(hex: UInt64(byte), digits: 2)
      }
    }
    put(UnsafeRawBufferPointer(rebasing: bytes[start..<bytes.count]))
  }

  /// A number with up to three digits after the point; what is no finite positive number becomes 0.
  mutating func put(fixed value: Double, digits: Int) {
    let power: Double = digits == 1 ? 10 : 1000
    let scaled = value.isFinite ? Int64((max(0, min(value, 1e12)) * power).rounded()) : 0
    put(decimal: scaled / Int64(power))
    put(byte: UInt8(ascii: "."))
    put(decimal: scaled % Int64(power), digits: digits == 1 ? 1 : 3)
  }
}
