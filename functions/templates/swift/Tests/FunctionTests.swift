import ApusFunction
import Testing

@testable import Handler

@Test func `whoever is named is greeted`() async throws {
  let response = try await Function().handle(Event(text: "Ada"), Context(function: "{{name}}"))
  #expect(response.text == "Hello, Ada!")
}
