import ClusterModel
import Testing

/// What a function may write about what its pods reach.
@Suite("Egress in a spec")
struct EgressTests {
  private func admit(_ egress: String?) throws -> Result<Function, Faults> {
    let field = egress.map { #","egress":\#($0)"# } ?? ""
    let text =
      #"{"apiVersion":"apus.dev/v1","kind":"Function","metadata":{"name":"f"},"#
      + #""spec":{"runtime":"python","handler":"a.py"\#(field)}}"#
    return Admission.admit(function: try JSONValue(bytes: text.utf8))
  }

  @Test("none, cluster and internet are taken, and left out it is none")
  func values() throws {
    #expect(try admit(nil).get().spec.egress == nil)
    for egress in Egress.allCases {
      #expect(try admit("\"\(egress.rawValue)\"").get().spec.egress == egress)
    }
  }

  @Test("anything else is refused with the values there are", arguments: [#""all""#, #""Internet""#, "true", "[]"])
  func refused(_ value: String) throws {
    guard case .failure(let faults) = try admit(value) else {
      Issue.record("\(value) was taken")
      return
    }
    #expect(faults.all.map(\.path) == ["spec.egress"])
    #expect(!value.hasPrefix("\"") || faults.description.contains("cluster"), "\(faults)")
  }

  @Test("it belongs to the revision: a rollback brings it back")
  func revision() throws {
    #expect(!FunctionSpec.ownFields.contains("egress"))
    var now = try admit(#""internet""#).get().spec
    now.takeOwn(of: try admit(nil).get().spec)
    #expect(now.egress == .internet)
  }
}
