import ClusterModel
import NIOCore

/// A request that was accepted and routed, as far as it is not in the head for the pod.
struct CallRequest {
  var info: RouteInfo
  var isHEAD = false
  var isHTTP10 = false
  var framing = Framing.none
  var expectsContinue = false
  /// Whether an upgrade is asked for.
  var upgrades = false
  /// Whether it was made as AWS Lambda's clients make it.
  var invokes = false
  /// How many pods called one another up to this call; 0 for one from outside.
  var depth = 0
  /// Whether the client's connection may be used again.
  var keepAlive = true
  /// When the head was complete: nanoseconds on the monotonic clock, and by the wall clock.
  var arrived: Int64 = 0
  /// When it must be over by the caller's own word (`X-Timeout`), on the same clock; `Int64.max` when it has none.
  var limit = Int64.max
  var arrivedAt = Timestamp(nanoseconds: 0)
}

/// A client as heads name it; the same for all requests of a connection, and shared by them.
final class ClientAddress: Sendable {
  /// For `X-Forwarded-For`.
  let plain: [UInt8]
  /// `for=…` of `Forwarded` (RFC 7239), IPv6 quoted.
  let element: [UInt8]
  let isTLS: Bool
  /// Whether it is the server itself, whose `X-Apus-*` fields pass.
  let isOwn: Bool
  /// The field that names the pod it is; nil for all who are no pods.
  let caller: [UInt8]?

  init(_ address: String, isTLS: Bool, isOwn: Bool = false, caller: [UInt8]? = nil) {
    plain = Array(address.utf8)
    element = Array((address.contains(":") ? "for=\"[\(address)]\"" : "for=\(address)").utf8)
    self.isTLS = isTLS
    self.isOwn = isOwn
    self.caller = caller
  }
}

extension CallText {
  /// Room for what a request's head becomes for a pod, without the deadline.
  private static func room(
    _ head: RequestHead, _ lines: HeadLines, _ target: FunctionTarget, _ length: Int,
    _ client: ClientAddress
  ) -> Int {
    length + 3 * head.host.count + target.prefix.count + client.plain.count + client.element.count
      + 2 * lines.fields.count + 1024 + (client.caller?.count ?? 0)
  }

  /// Writes the head for the function, up to where the deadline comes: the client's fields that may pass, then ours.
  mutating func writeHead(
    _ head: RequestHead, _ lines: HeadLines, _ target: FunctionTarget, _ source: UnsafeRawBufferPointer,
    client: ClientAddress, at time: Timestamp, using random: inout LoopRandom
  ) {
    bytes.clear()
    var method = Span.none
    var rest = Span.none
    var prefix = Span.none
    var call = Span.none
    bytes.write(room: Self.room(head, lines, target, source.count, client)) { out in
      method.end = head.method.count
      out.put(head.method.of(source))
      out.put(" ")
      if target.restPath.isEmpty { out.put("/") }
      rest = Span(start: out.count, end: out.count + target.restPath.count)
      out.put(target.rest.of(source))
      out.put(" HTTP/1.1\r\n")
      if client.isOwn {
        let passes = head.keepsAuthorization ? HeaderRules.passesToGuarded : HeaderRules.passesToFunction
        HeaderRules.copy(lines, source, into: &out, namesFields: head.namesFields) { $0 == .platform || passes($0) }
      } else if head.keepsAuthorization {
        HeaderRules.copy(
          lines, source, into: &out, namesFields: head.namesFields, passes: HeaderRules.passesToGuarded)
      } else {
        HeaderRules.copy(
          lines, source, into: &out, namesFields: head.namesFields, passes: HeaderRules.passesToFunction)
      }
      Self.writeFraming(head, source, into: &out)
      out.put("x-call-id: ")
      call.start = out.count
      let made = head.callID == nil ? UUIDWords(at: time, using: &random) : nil
      if let made { out.put(uuid: made) } else if let own = head.callID { out.put(own.of(source)) }
      call.end = out.count
      out.put("\r\ntraceparent: ")
      if let own = head.traceparent {
        out.put(own.of(source))
      } else {
        out.put(traceparent: made ?? UUIDWords(at: time, using: &random))
      }
      out.put("\r\nx-forwarded-prefix: ")
      prefix = Span(start: out.count, end: out.count + target.prefix.count)
      out.put(target.prefix.of(source))
      out.put("\r\n")
      if let caller = client.caller { out.put(caller) }
      Self.writeForwarded(head, lines, source, client, into: &out)
    }
    self.method = method
    self.rest = rest
    self.prefix = prefix
    self.call = call
  }

  private static func writeFraming(_ head: RequestHead, _ source: UnsafeRawBufferPointer, into out: inout ByteWriter) {
    // Always: what speaks HTTP/1.1 may refuse a request without one.
    out.put("host: ")
    out.put(head.host.of(source))
    out.put("\r\n")
    switch head.framing {
    case .none, .close: break
    case .length(let length):
      out.put("content-length: ")
      out.put(decimal: length)
      out.put("\r\n")
    case .chunked: out.put("transfer-encoding: chunked\r\n")
    }
    if let upgrade = head.upgrade {
      out.put("connection: upgrade\r\nupgrade: ")
      out.put(upgrade.of(source))
      out.put("\r\n")
    }
  }

  /// `Forwarded` and what came before it: what the client says of those before it stays, and the client is added.
  /// `Connection` cannot take these out: else a client could hide the proxies it came through.
  private static func writeForwarded(
    _ head: RequestHead, _ lines: HeadLines, _ source: UnsafeRawBufferPointer, _ client: ClientAddress,
    into out: inout ByteWriter
  ) {
    func chain(_ kind: FieldName) {
      for field in lines.fields where field.kind == kind && !field.value.isEmpty {
        out.put(field.value.of(source))
        out.put(", ")
      }
    }
    out.put("x-forwarded-for: ")
    chain(.forwardedFor)
    out.put(client.plain)
    if !head.host.isEmpty {
      out.put("\r\nx-forwarded-host: ")
      out.put(head.host.of(source))
    }
    if client.isTLS { out.put("\r\nx-forwarded-proto: https") } else { out.put("\r\nx-forwarded-proto: http") }
    out.put("\r\nforwarded: ")
    chain(.forwarded)
    out.put(client.element)
    if !head.host.isEmpty {
      out.put(";host=\"")
      out.put(head.host.of(source))
      out.put("\"")
    }
    if client.isTLS { out.put(";proto=https\r\n") } else { out.put(";proto=http\r\n") }
  }

  /// Ends the head with the time by which the call must be over, epoch milliseconds; one written before is replaced.
  mutating func writeDeadline(_ deadline: Int64, at end: Int) {
    bytes.moveWriterIndex(to: end)
    bytes.write(room: 64) { out in
      out.put("x-apus-deadline: ")
      out.put(decimal: deadline)
      out.put("\r\n\r\n")
    }
  }
}
