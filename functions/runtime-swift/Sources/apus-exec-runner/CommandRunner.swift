import ApusFunction
import Glibc
import Programs

/// Serves each call with a process of its own: the body on its standard input, the answer from its standard output.
struct CommandRunner: CallRunner {
  let program: String
  let arguments: [String]
  let environment: [String]

  func run(_ call: Call) {
    switch Program.start(path: program, arguments: arguments, environment: variables(of: call)) {
    case .failure(let error):
      // The body was not read: the connection cannot go on.
      call.cut()
      call.fail(kind: "StartError", message: "command '\(arguments[0])' could not be started: \(error)")
    case .success(let child):
      CommandCall(call: call, child: child).serve()
    }
  }

  /// The environment of the process. REQUEST_PATH, because PATH is where a shell finds its tools.
  private func variables(of call: Call) -> [String] {
    var all = environment
    all += [
      "CALL_ID=\(call.id)", "METHOD=\(call.head.method)", "REQUEST_PATH=\(call.head.path)", "QUERY=\(call.head.query)",
    ]
    var names: Set<String> = []
    for field in call.head.headers {
      let name = String(decoding: field.name.utf8.map { $0 == 0x2D ? 0x5F : Self.upper($0) }, as: UTF8.self)
      // HTTP_PROXY is what many programs take for their own setting.
      guard name != "PROXY", name.utf8.allSatisfy(Self.isVariable), names.insert(name).inserted else { continue }
      all.append("HTTP_\(name)=\(call.head.headers[field.name] ?? "")")
    }
    return all
  }

  private static func upper(_ byte: UInt8) -> UInt8 { byte >= 0x61 && byte <= 0x7A ? byte - 0x20 : byte }

  private static func isVariable(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5A, 0x5F: true
    default: false
    }
  }
}
