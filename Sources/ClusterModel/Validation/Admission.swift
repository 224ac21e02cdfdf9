/// What happens to a written object before it is stored: faults found, defaults written in.
package enum Admission {
  /// Checks a function's object and answers it complete with defaults, or every fault.
  ///
  /// `movingImage`: an image may stand without its digest, as in a manifest that is about to be deployed.
  package static func admit(function value: JSONValue, movingImage: Bool = false) -> Result<Function, Faults> {
    var faults = Schemas.function.faults(in: value)
    if faults.isEmpty { faults = rules(ofSpec: value["spec"] ?? .null) }
    if faults.isEmpty, !movingImage { faults = unpinnedImage(ofSpec: value["spec"] ?? .null) }
    guard faults.isEmpty else { return .failure(Faults(all: faults)) }
    do {
      let complete = Schemas.function.withDefaults(value)
      return .success(try complete.decoded(as: Function.self))
    } catch {
      return .failure(Faults(all: [Fault(path: "spec", message: "cannot be read: \(error)")]))
    }
  }

  /// The rules that tie several fields together.
  private static func rules(ofSpec spec: JSONValue) -> [Fault] {
    var faults: [Fault] = []
    let complete = Schemas.functionSpec.withDefaults(spec)
    guard let runtime = complete["runtime"]?.stringValue.flatMap(Runtime.init(rawValue:)) else { return [] }
    let hasCommand = !(complete["command"]?.arrayValue ?? []).isEmpty
    switch runtime {
    case .python, .node:
      if complete["handler"] == nil {
        let example = runtime == .python ? "handler.py" : "handler.js"
        faults.append(
          Fault(path: "spec.handler", message: "is required for runtime \(runtime.rawValue); use \(example)"))
      }
      if hasCommand {
        faults.append(Fault(path: "spec.command", message: "is not for runtime \(runtime.rawValue); use spec.handler"))
      }
    case .swift:
      if hasCommand || complete["handler"] != nil {
        let field = hasCommand ? "command" : "handler"
        faults.append(Fault(path: "spec.\(field)", message: "is not for runtime swift; the package's product is run"))
      }
    case .binary, .exec:
      if !hasCommand {
        faults.append(Fault(path: "spec.command", message: "is required for runtime \(runtime.rawValue)"))
      }
      if complete["handler"] != nil {
        faults.append(Fault(path: "spec.handler", message: "is not for runtime \(runtime.rawValue); use spec.command"))
      }
    case .image: break
    case .lambda: break  // without a command the package's `bootstrap` is run; a handler is what _HANDLER says
    }
    faults += image(ofSpec: complete, runtime)
    let least = complete.at(path: "scale.min")?.intValue ?? 0
    let most = complete.at(path: "scale.max")?.intValue ?? 0
    if least > most {
      faults.append(Fault(path: "spec.scale.min", message: "\(least) is above spec.scale.max \(most)"))
    }
    return faults + timeouts(ofSpec: complete) + schedules(complete["schedule"]?.arrayValue ?? [])
  }

  /// What only an image has, and what it cannot have.
  private static func image(ofSpec complete: JSONValue, _ runtime: Runtime) -> [Fault] {
    guard runtime == .image else {
      return ["args", "image", "imageSecret", "rootWritable"].filter { complete[$0] != nil }.map {
        Fault(path: "spec.\($0)", message: "is not for runtime \(runtime.rawValue); it needs runtime image")
      }
    }
    var faults = ["handler", "source"].filter { complete[$0] != nil }.map {
      Fault(path: "spec.\($0)", message: "is not for runtime image; its code is in spec.image")
    }
    if complete["image"] == nil {
      faults.append(Fault(path: "spec.image", message: "is required for runtime image; use REGISTRY/NAME:TAG"))
    }
    return faults
  }

  /// A revision never changes, and a tag does.
  private static func unpinnedImage(ofSpec spec: JSONValue) -> [Fault] {
    guard let text = spec["image"]?.stringValue, let image = try? ImageReference(text), image.digest == nil else {
      return []
    }
    return [
      Fault(
        path: "spec.image",
        message: "\(image) has no digest; write \(image)@sha256:…, or let `apus deploy` look up what the tag means now")
    ]
  }

  /// A part of a call cannot take longer than the whole.
  private static func timeouts(ofSpec complete: JSONValue) -> [Fault] {
    func span(_ path: String) -> TimeSpan? { complete.at(path: path)?.stringValue.flatMap(TimeSpan.init(_:)) }
    guard let whole = span("timeout") else { return [] }
    return ["timeouts.responseStart", "timeouts.responseIdle"].compactMap { path in
      guard let part = span(path), part > whole else { return nil }
      return Fault(
        path: "spec.\(path)",
        message: "\(part) is above spec.timeout \(whole), which ends the call before; raise that too"
      )
    }
  }

  /// Every schedule of a function has a name of its own.
  private static func schedules(_ list: [JSONValue]) -> [Fault] {
    var seen: [String: Int] = [:]
    var faults: [Fault] = []
    for (index, schedule) in list.enumerated() {
      let name = schedule["name"]?.stringValue ?? ""
      if let first = seen[name] {
        faults.append(
          Fault(
            path: "spec.schedule[\(index)].name",
            message: "\"\(name)\" is the name of spec.schedule[\(first)]; give each schedule a name of its own"))
      } else {
        seen[name] = index
      }
    }
    return faults
  }
}

/// Everything that is wrong with a document.
package struct Faults: Error, CustomStringConvertible, Sendable, Hashable {
  /// At least one fault, in path order.
  package let all: [Fault]

  /// A list of faults.
  package init(all: [Fault]) { self.all = all }

  /// The faults, `; ` between them.
  package var description: String { all.map(\.description).joined(separator: "; ") }
}
