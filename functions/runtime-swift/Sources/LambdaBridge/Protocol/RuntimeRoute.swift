/// What a request to the Runtime API means.
package enum RuntimeRoute: Equatable, Sendable {
  case ping
  case next
  case response(String)
  case error(String)
  case initError
  case restoreNext
  case restoreError
  case registerExtension
  case nextExtensionEvent
  case extensionError
  /// Subscribing to logs or telemetry, which is taken and does nothing.
  case subscribe
  /// A path of the API with a method it does not take.
  case wrongMethod
  case unknown

  /// The meaning of a method and a path as they were sent.
  package init(method: String, path: String) {
    let known: (String, RuntimeRoute)?
    switch path {
    case "/2018-06-01/ping": known = ("GET", .ping)
    case "/2018-06-01/runtime/invocation/next": known = ("GET", .next)
    case "/2018-06-01/runtime/init/error": known = ("POST", .initError)
    case "/2018-06-01/runtime/restore/next": known = ("GET", .restoreNext)
    case "/2018-06-01/runtime/restore/error": known = ("POST", .restoreError)
    case "/2020-01-01/extension/register": known = ("POST", .registerExtension)
    case "/2020-01-01/extension/event/next": known = ("GET", .nextExtensionEvent)
    case "/2020-01-01/extension/init/error", "/2020-01-01/extension/exit/error": known = ("POST", .extensionError)
    case "/2020-08-15/logs", "/2022-07-01/telemetry": known = ("PUT", .subscribe)
    default: known = Self.invocation(path).map { ("POST", $0) }
    }
    guard let (wanted, route) = known else {
      self = .unknown
      return
    }
    self = method == wanted ? route : .wrongMethod
  }

  private static func invocation(_ path: String) -> RuntimeRoute? {
    let lead = "/2018-06-01/runtime/invocation/"
    guard path.hasPrefix(lead) else { return nil }
    let parts = path.dropFirst(lead.count).split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2, !parts[0].isEmpty else { return nil }
    switch parts[1] {
    case "response": return .response(String(parts[0]))
    case "error": return .error(String(parts[0]))
    default: return nil
    }
  }
}
