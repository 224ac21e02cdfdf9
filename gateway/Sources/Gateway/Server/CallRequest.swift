import ClusterAPI
import ClusterModel
import NIOHTTP1

/// A request that was accepted and routed: all that is needed to send it to a function, once or again.
struct CallRequest {
  let method: HTTPMethod
  let version: HTTPVersion
  let target: FunctionTarget
  let route: FunctionRoute
  /// The path as the client wrote it, for the access record.
  let originalPath: String
  let headers: HTTPHeaders
  let host: String
  let framing: RequestRules.Framing
  let callID: String
  let traceparent: String
  let remoteAddress: String
  let forwardedProto: String
  let expectsContinue: Bool
  /// The protocol an `Upgrade` asks for.
  let upgrade: String?
  /// Whether the client's connection may be used again.
  let keepAlive: Bool
  /// When the head was complete: nanoseconds on the monotonic clock, and by the wall clock.
  let arrived: Int64
  let arrivedAt: Timestamp

  /// The head for the function, with the time by which it must be over, epoch milliseconds.
  func upstreamHead(deadline: Int64) -> HTTPRequestHead {
    var out = HeaderRules.toFunction(headers)
    if !host.isEmpty { out.add(name: "host", value: host) }
    switch framing {
    case .none: break
    case .length(let length): out.add(name: "content-length", value: String(length))
    case .chunked: out.add(name: "transfer-encoding", value: "chunked")
    }
    if let upgrade {
      out.add(name: "connection", value: "upgrade")
      out.add(name: "upgrade", value: upgrade)
    }
    out.add(name: "x-call-id", value: callID)
    out.add(name: "traceparent", value: traceparent)
    out.add(name: "x-apus-deadline", value: String(deadline))
    let chain = headers["x-forwarded-for"] + [remoteAddress]
    out.add(name: "x-forwarded-for", value: chain.joined(separator: ", "))
    if !host.isEmpty { out.add(name: "x-forwarded-host", value: host) }
    out.add(name: "x-forwarded-proto", value: forwardedProto)
    out.add(name: "x-forwarded-prefix", value: target.prefix)
    let address = remoteAddress.contains(":") ? "\"[\(remoteAddress)]\"" : remoteAddress
    let element = "for=\(address);host=\"\(host)\";proto=\(forwardedProto)"
    out.add(name: "forwarded", value: (headers["forwarded"] + [element]).joined(separator: ", "))
    return HTTPRequestHead(version: .http1_1, method: method, uri: target.path, headers: out)
  }

  /// The head for the client of a function's answer.
  func clientHead(_ head: HTTPResponseHead, elapsed: Double, bodyPending: Bool) -> HTTPResponseHead {
    var out = HeaderRules.toClient(head.headers)
    var close = !keepAlive || bodyPending
    let status = head.status
    if status == .switchingProtocols {
      out.add(name: "connection", value: "upgrade")
      for value in head.headers["upgrade"] { out.add(name: "upgrade", value: value) }
      close = false
    } else if let length = head.headers.first(name: "content-length") {
      if status != .noContent { out.add(name: "content-length", value: length) }
    } else if method != .HEAD, status.mayHaveResponseBody {
      if version == .http1_1 {
        out.add(name: "transfer-encoding", value: "chunked")
      } else {
        close = true
      }
    }
    out.add(name: "X-Call-Id", value: callID)
    out.add(name: "X-Duration-Seconds", value: Self.seconds(elapsed))
    if close {
      out.add(name: "connection", value: "close")
    } else if version == .http1_0 {
      out.add(name: "connection", value: "keep-alive")
    }
    return HTTPResponseHead(version: .http1_1, status: status, headers: out)
  }

  /// The beginnings of the call's record.
  func record() -> CallRecord {
    var record = CallRecord(time: arrivedAt)
    record.namespace = route.namespace
    record.function = route.function
    record.revision = route.revision ?? ""
    record.call = callID
    record.method = method.rawValue
    record.path = originalPath
    return record
  }

  /// Milliseconds as seconds with six digits after the point.
  static func seconds(_ milliseconds: Double) -> String {
    let micros = Int64(max(0, min(milliseconds, 1e12)) * 1000)
    let fraction = String(micros % 1_000_000)
    return "\(micros / 1_000_000).\(String(repeating: "0", count: 6 - fraction.count))\(fraction)"
  }
}
