import ApusFunction
import Testing

@testable import LambdaBridge

/// What is read and written on the Runtime API.
@Suite struct ProtocolTests {
  @Test func `each path has its meaning and its method`() {
    let base = "/2018-06-01/runtime"
    #expect(RuntimeRoute(method: "GET", path: "\(base)/invocation/next") == .next)
    #expect(RuntimeRoute(method: "POST", path: "\(base)/invocation/a-1/response") == .response("a-1"))
    #expect(RuntimeRoute(method: "POST", path: "\(base)/invocation/a-1/error") == .error("a-1"))
    #expect(RuntimeRoute(method: "POST", path: "\(base)/init/error") == .initError)
    #expect(RuntimeRoute(method: "GET", path: "/2018-06-01/ping") == .ping)
    #expect(RuntimeRoute(method: "PUT", path: "/2022-07-01/telemetry") == .subscribe)
    #expect(RuntimeRoute(method: "POST", path: "\(base)/invocation/next") == .wrongMethod)
    #expect(RuntimeRoute(method: "GET", path: "\(base)/invocation/a/response") == .wrongMethod)
    for path in ["/", base, "\(base)/invocation//response", "\(base)/invocation/a/b/response", "\(base)/invocation/a"] {
      #expect(RuntimeRoute(method: "POST", path: path) == .unknown, "\(path)")
    }
  }

  @Test func `JSON is read strictly`() {
    #expect(
      JSONTree(Array(#" {"a": [1, -2.5e1, true, null], "b": "x\n\u00e9\ud83d\ude00"} "#.utf8))
        == .map(["a": .list([.number(1), .number(-25), .bool(true), .null]), "b": .string("x\né😀")]))
    for text in [
      "", "{", "[1,]", "{\"a\" 1}", "01", "1.", "+1", "nul", "\"\u{1}\"", "\"\\x\"", "\"\\u12g4\"", "\"", "1 2",
      "{\"a\":}",
      String(repeating: "[", count: 100),
    ] {
      #expect(JSONTree(Array(text.utf8)) == nil, "\(text)")
    }
    #expect(JSONTree([0x22, 0xFF, 0x22]) == nil)
  }

  @Test(arguments: 0..<8) func `mutated JSON is read or refused, never trapped on`(_ seed: UInt64) {
    var random = Numbers(seed)
    let text = Array(#"{"statusCode":200,"headers":{"a":"b\u0041"},"cookies":["x",null,1e3]}"#.utf8)
    var read = 0
    for _ in 0..<3000 {
      var bytes = text
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      if JSONTree(bytes) != nil { read += 1 }
      var prelude = HTTPPrelude()
      _ = prelude.feed(bytes + [UInt8](repeating: 0, count: 8))
    }
    #expect(read > 0 && read < 3000)
  }

  @Test func `an error is taken from the body, from the field, or is unknown`() {
    let told = FunctionFault(
      header: "Runtime.Named",
      body: Array(#"{"errorType":"ValueError","errorMessage":"no","stackTrace":["a\n","b"]}"#.utf8))
    #expect(told.type == "ValueError" && told.message == "no" && told.trace == ["a\n", "b"])
    #expect(told.fields["traceback"] == .string("a\nb\n"))
    #expect(told.payload(request: "r") == told.body)
    let named = FunctionFault(header: "Runtime.Named", body: Array("no json".utf8))
    #expect(named.type == "Runtime.Named" && named.message == "no json")
    #expect(
      String(decoding: named.payload(request: "r"), as: UTF8.self)
        == #"{"errorType":"Runtime.Named","errorMessage":"no json","requestId":"r"}"#)
    #expect(FunctionFault(header: nil, body: []).type == "Function.Unknown")
  }

  @Test func `the head of an HTTP answer is found wherever it is cut`() {
    let head = Array(
      #"{"statusCode":201,"headers":{"X-A":"1"},"multiValueHeaders":{"X-B":["2","3"]},"cookies":["c=1"]}"#.utf8)
    let whole = head + [UInt8](repeating: 0, count: 8) + Array("body\0\0".utf8)
    for cut in 0...whole.count {
      var prelude = HTTPPrelude()
      var body: [UInt8] = []
      var found: HTTPPrelude.Head?
      for piece in [Array(whole[..<cut]), Array(whole[cut...])] {
        if found != nil {
          body += piece
        } else if case .head(let head, let rest) = prelude.feed(piece) {
          (found, body) = (head, rest)
        }
      }
      #expect(found?.status == 201 && body == Array("body\0\0".utf8), "cut at \(cut)")
      #expect(found?.headers["x-a"] == "1" && found?.headers["x-b"] == "2, 3" && found?.headers["set-cookie"] == "c=1")
    }
    for bad in ["[]", #"{"statusCode":99}"#, #"{"statusCode":"200"}"#, "x"] {
      var prelude = HTTPPrelude()
      guard case .malformed = prelude.feed(Array(bad.utf8) + [UInt8](repeating: 0, count: 8)) else {
        Issue.record("\(bad) was read")
        continue
      }
    }
    var endless = HTTPPrelude()
    guard case .malformed = endless.feed([UInt8](repeating: 32, count: HTTPPrelude.bytes + 1)) else {
      Issue.record("a head without an end is waited for")
      return
    }
  }

  @Test func `an invocation says who and until when`() {
    let identity = InvocationRequest.Identity(arn: "arn:aws:lambda:r:0:function:f", timeout: 3000)
    var fields: Headers = ["X-Call-Id": "0195-ab", "X-Apus-Deadline": "1234", "Content-Type": "image/png"]
    let request = InvocationRequest(fields, identity: identity, fresh: "fresh", now: 1000)
    #expect(request.id == "0195-ab" && request.headers["lambda-runtime-deadline-ms"] == "1234")
    #expect(request.headers["lambda-runtime-invoked-function-arn"] == identity.arn)
    #expect(request.headers["content-type"] == "image/png")
    fields = ["X-Call-Id": "a/b", "X-Amz-Client-Context": "eyJhIjogIlxuIn0K"]
    let other = InvocationRequest(fields, identity: identity, fresh: "fresh", now: 1000)
    #expect(other.id == "fresh" && other.headers["lambda-runtime-deadline-ms"] == "4000")
    #expect(other.headers["lambda-runtime-client-context"] == #"{"a": "\n"}"#)
    for (sent, told) in [
      (nil, "application/json"), ("application/json; charset=utf-8", "application/json"),
      ("application/cloudevents+json", "application/json"), ("application/x-www-form-urlencoded", "application/json"),
      ("text/plain; charset=utf-8", "text/plain; charset=utf-8"),
    ] {
      #expect(InvocationRequest.type(of: sent) == told)
    }
    #expect(InvocationRequest.trace("00-x-y-01") == nil)
  }

  @Test func `base64 is decoded, and what is none refused`() {
    for text in ["", "a", "ab", "abc", "abcd", "\u{0}\u{1}ÿ?>"] {
      let bytes = Array(text.utf8)
      #expect(Base64.decode(Self.base64(bytes)) == bytes)
    }
    for bad in ["a", "a*b=", "ab c"] { #expect(Base64.decode(bad) == nil, "\(bad)") }
  }

  private static func base64(_ bytes: [UInt8]) -> String {
    let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
    var text = ""
    var (bits, count) = (0, 0)
    for byte in bytes {
      (bits, count) = (bits << 8 | Int(byte), count + 8)
      while count >= 6 {
        count -= 6
        text.append(digits[bits >> count & 63])
      }
    }
    if count > 0 { text.append(digits[bits << (6 - count) & 63]) }
    return text + String(repeating: "=", count: (4 - text.count % 4) % 4)
  }

  @Test func `the environment keeps the function's own and adds Lambda's`() {
    let pod = [
      "APUS_FUNCTION": "greet", "APUS_NAMESPACE": "team", "APUS_REVISION": "greet-00003", "APUS_MEMORY_MIB": "256",
      "APUS_HANDLER": "app.handler", "AWS_REGION": "eu-central-1", "TZ": "Europe/Berlin", "LISTEN_FDS": "1",
      "APUS_COMMAND": "[]", "AWS_LAMBDA_RUNTIME_API": "elsewhere:1", "AWS_LAMBDA_MAX_CONCURRENCY": "9",
    ]
    let one = LambdaEnvironment(pod: pod, folder: "/function", api: "127.0.0.1:9001", workers: 1)
    #expect(one.arn == "arn:aws:lambda:eu-central-1:000000000000:function:greet.team")
    for (name, value) in [
      ("AWS_LAMBDA_FUNCTION_NAME", "greet.team"), ("AWS_LAMBDA_FUNCTION_VERSION", "greet-00003"),
      ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"), ("_HANDLER", "app.handler"), ("AWS_DEFAULT_REGION", "eu-central-1"),
      ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"), ("LAMBDA_TASK_ROOT", "/function"), ("TZ", "Europe/Berlin"),
    ] {
      #expect(one[name] == value, "\(name)")
    }
    for name in ["LISTEN_FDS", "APUS_COMMAND", "AWS_LAMBDA_MAX_CONCURRENCY"] { #expect(one[name] == nil, "\(name)") }
    let many = LambdaEnvironment(pod: pod, folder: "/function", api: "127.0.0.1:9001", workers: 8)
    #expect(many["AWS_LAMBDA_MAX_CONCURRENCY"] == "8")
    #expect(many.entries.contains("_HANDLER=app.handler"))
  }

  @Test func `a line is of the call whose id stands in it whole, and of the longest`() {
    func named(_ line: String, _ ids: String...) -> String? { RequestID.named(in: Array(line.utf8)[...], of: ids) }
    #expect(named("order-12 done", "order-1", "order-12") == "order-12")
    #expect(named("order-12 done", "order-1") == nil && named("some text here", "e", "te") == nil)
    #expect(
      named("[1] RequestId: a-b.", "1", "a-b") == "a-b" && named("1: begins, a ends a-b", "a-b", "1", "a") == "a-b")
    #expect(named("x_1 1", "1") == "1" && named("", "a") == nil && named("a", "a") == "a" && named("a", "") == nil)
  }

  @Test func `a made id is a UUID of version 4`() {
    for _ in 0..<100 {
      let id = RequestID.make()
      let parts = id.split(separator: "-")
      #expect(parts.map(\.utf8.count) == [8, 4, 4, 4, 12] && parts[2].first == "4")
      #expect(["8", "9", "a", "b"].contains(parts[3].first))
    }
  }
}
