import ArgumentParser
import ClusterAPI
import ClusterModel
import Foundation
import Testing

@testable import apus

@Suite struct VerbTests {
  private func ending(_ arguments: [String]) -> Ending? {
    do {
      var command = try Apus.parseAsRoot(arguments)
      // Help is a command of the parser's own, which says its text by throwing it.
      if !(command is any AsyncParsableCommand) { try command.run() }
      return nil
    } catch {
      return Ending.of(error, root: Apus.self, arguments: arguments)
    }
  }

  @Test(
    arguments: [
      (["deplyo", "x"], "error: no such command: deplyo. Did you mean `apus deploy`?"),
      (["scale", "greet", "--mn", "2"], "error: Unknown option '--mn'. Did you mean '--min'?"),
      (["scale", "greet"], "error: how many?"),
      (["token", "revoke", "apus-invoke.0011.secret"], "error: give the id alone, not the token"),
      (["token", "revoke", "xyz"], "error: \"xyz\" is no token's id"),
      (["token", "create", "--function", "greet", "--for", "worker"], "error: --for is for tokens to join with"),
      (["token", "create", "--expires", "soon"], "error: --expires: \"soon\" is not a duration"),
      (["get"], "error: Missing expected argument"),
      (["secret", "set", "db"], "error: no value was given"),
      (["logs", "--stats", "count()", "-f"], "error: --stats and -f do not go together"),
    ] as [([String], String)])
  func `wrong usage exits 2 and says what was meant`(arguments: [String], text: String) throws {
    let ending = try #require(self.ending(arguments))
    #expect(ending.status == 2)
    #expect(!ending.toOutput)
    #expect(ending.text.hasPrefix(text), "\(ending.text)")
  }

  @Test func `help goes to standard output and exits 0`() throws {
    let ending = try #require(self.ending(["deploy", "--help"]))
    #expect(ending.status == 0 && ending.toOutput)
    #expect(ending.text.contains("apus deploy greet"))
  }

  @Test func `every verb has an abstract and an example`() {
    func check(_ command: any ParsableCommand.Type, _ path: String) {
      let configuration = command.configuration
      if configuration.shouldDisplay {
        #expect(!configuration.abstract.isEmpty, "\(path)")
        #expect(configuration.discussion.contains("Example:"), "\(path) has no example")
      }
      for inner in configuration.subcommands + configuration.groupedSubcommands.flatMap(\.subcommands) {
        check(inner, "\(path) \(inner)")
      }
    }
    check(Apus.self, "apus")
  }

  @Test func `failures print a sentence and the next step, and keep their status`() {
    #expect(Failure("a", next: "b").description == "error: a\nb")
    let ending = Ending.of(Failure.usage("wrong"), root: Apus.self, arguments: ["get", "x"])
    #expect(ending == Ending(text: "error: wrong", status: 2, toOutput: false))
    let faults = Faults(all: [Fault(path: "spec.a", message: "is bad"), Fault(path: "spec.b", message: "is worse")])
    #expect(
      Failure(APIStatus.invalid(.function, "greet", faults)).message
        == "Function \"greet\" is invalid:\n  spec.a: is bad\n  spec.b: is worse")
    #expect(Failure(APIStatus.unauthorized("no")).next?.contains("kubeconfig") == true)
  }

  @Test func `a failed call is told in one sentence`() {
    let body = Array(
      #"{"code":"function_timeout","message":"spec.timeout reached","component":"pod slow-00001-x7k2p","call":"0195"}"#
        .utf8)
    #expect(
      CallFailure(status: 504, function: "slow", call: "0195", seconds: 30.04, body: body).failure.description
        == "error: 504 from pod slow-00001-x7k2p after 30.0 s: spec.timeout reached (call 0195; apus logs --call 0195)")
    #expect(
      CallFailure(status: 422, function: "greet", call: "c", seconds: 0.0031, body: []).failure.message
        == "422 from function greet after 3 ms (call c; apus logs --call c)")
  }

  @Test func `targets, headers and bodies of invoke are read as curl reads them`() throws {
    #expect(CallArguments.split("greet/a/b?x=1") == ("greet", "/a/b?x=1"))
    #expect(CallArguments.split("greet?x=1") == ("greet", "?x=1"))
    #expect(CallArguments.split("greet") == ("greet", ""))
    #expect(try CallArguments.header("X-A:  b: c") == ("X-A", "b: c"))
    #expect(throws: Failure.self) { try CallArguments.header("nothing") }
    #expect(CallArguments.contentType(of: #"{"a":1}"#) == "application/json")
    #expect(CallArguments.contentType(of: "{a") == "text/plain; charset=utf-8")
  }

  @Test func `kinds go by any of their names, and a typo is told the nearest`() throws {
    #expect(try KindArgument.kinds("fn,po") == [.function, .pod])
    #expect(try KindArgument.kinds("all") == [.function, .revision, .pod])
    #expect(try KindArgument.split(["pod/x", "y"]) == (.pod, ["x", "y"]))
    do {
      _ = try KindArgument.kind("fnctions")
      Issue.record("no error")
    } catch {
      #expect(error.message == "no such kind: fnctions. Did you mean `functions`?")
      #expect(error.status == 2)
    }
  }

  @Test func `scaling raises the most with the least, unless both are given`() throws {
    let scale = try Samples.function().spec.scale
    #expect(Scale.changed(scale, least: 20, most: nil).max == 20)
    #expect(Scale.changed(scale, least: 2, most: nil).max == 10)
    #expect(Scale.changed(scale, least: nil, most: 3).min == 0)
  }

  @Test func `a rollback opens nothing: who may call stays as it is`() throws {
    let before = try Samples.function { function in
      function.spec.public = true
      function.spec.handler = "old.py"
    }
    let closed = try JSONValue(
      encoding: Samples.function { function in
        function.spec.auth = .token
        function.spec.scale.max = 3
      })
    let spec = try Rollback.spec(of: Samples.revision(1, of: before), over: closed["spec"])
    #expect(spec["handler"] == .string("old.py") && spec.at(path: "scale.max") == .int(3))
    #expect(spec["auth"] == .string("token") && spec["public"] == nil)
  }

  @Test func `rollback takes the newest proven revision before the serving one`() throws {
    let function = try Samples.function { function in
      function.status?.servingRevision = "greet-00004"
      function.status?.latestRevision = "greet-00004"
    }
    let revisions = [1, 2, 3, 4, 5].map { Samples.revision($0, of: function, proven: $0 != 3) }
    #expect(try Rollback.target(of: function, revisions, to: nil).metadata.name == "greet-00002")
    #expect(try Rollback.target(of: function, revisions, to: "1").metadata.name == "greet-00001")
    #expect(try Rollback.target(of: function, revisions, to: "greet-00005").metadata.name == "greet-00005")
    #expect(throws: Failure.self) { try Rollback.target(of: function, [Samples.revision(4, of: function)], to: nil) }
    do {
      _ = try Rollback.target(of: function, revisions, to: "greet-0002")
      Issue.record("no error")
    } catch {
      #expect(error.message == "greet has no revision \"greet-0002\". Did you mean \"greet-00002\"?")
    }
  }

  @Test func `rollback of a revision that could not start returns to the one that serves`() throws {
    let function = try Samples.function { function in
      function.status?.servingRevision = "greet-00001"
      function.status?.latestRevision = "greet-00003"
    }
    let revisions = [1, 2, 3].map { Samples.revision($0, of: function, proven: $0 != 3) }
    #expect(try Rollback.target(of: function, revisions, to: nil).metadata.name == "greet-00001")
  }

  @Test func `a rollout is ready, failed or waits, by generation`() throws {
    let function = try Samples.function()
    #expect(Rollout.stage(of: function, generation: 2) == .ready("greet-00002"))
    let waiting = Rollout.stage(of: function, generation: 3)
    #expect(waiting == .waiting("greet: a revision is made"))
    let failed = try Samples.function { function in
      function.status?.conditions = [
        Condition(type: "Ready", status: false, reason: "RevisionFailed", message: "exit 1", at: Samples.now)
      ]
    }
    #expect(Rollout.stage(of: failed, generation: 2) == .failed("exit 1"))
    let starting = try Samples.function { function in
      function.status?.servingRevision = "greet-00001"
      function.status?.conditions = [
        Condition(type: "Ready", status: nil, reason: "Starting", message: "greet-00002 starts", at: Samples.now)
      ]
    }
    #expect(Rollout.stage(of: starting, generation: 2) == .waiting("greet-00002 starts"))
  }

  @Test func `the ready line names node, time and URL as far as known`() {
    #expect(
      Rollout.line(revision: "greet-00002", pods: [Samples.pod()], url: "http://h/function/greet")
        == "ready      greet-00002 on worker-2 in 9.2 ms   http://h/function/greet")
    #expect(Rollout.line(revision: "greet-00002", pods: [], url: nil) == "ready      greet-00002")
  }

  @Test func `a deploy replaces the spec but keeps the scale it does not speak of`() throws {
    let current = try JSONValue(encoding: Samples.function { $0.spec.scale.min = 3 })
    let manifest = JSONValue.object([
      "metadata": .object(["name": .string("greet"), "labels": .object(["a": .string("b")])]),
      "spec": .object(["runtime": .string("python"), "handler": .string("other.py")]),
    ])
    let merged = FunctionWrite.merged(manifest, into: current)
    #expect(merged.at(path: "spec.scale.min") == .int(3))
    #expect(merged.at(path: "spec.env") == nil)
    #expect(merged.at(path: "metadata.labels.a") == .string("b"))
    #expect(merged.at(path: "metadata.uid") == current.at(path: "metadata.uid"))
  }

  @Test func `a template gets the function's name in its manifest`() {
    let manifest = "kind: Function\nmetadata:\n  labels: {}\n  name: old\nspec:\n  name: kept\n"
    #expect(
      Template.renamed(manifest, to: "greet")
        == "kind: Function\nmetadata:\n  labels: {}\n  name: greet\nspec:\n  name: kept\n")
  }

  @Test func `vendoring happens only when something is required`() {
    #expect(!Vendoring.hasRequirements("\n # nothing\n"))
    #expect(Vendoring.hasRequirements("# x\n  requests==2\n"))
    let moved = Vendoring.outside(
      ["a": .string("file:../lib"), "b": .string("file:./in"), "c": .string("^1.0"), "d": .string("file:/abs")],
      folder: "/work/fn")
    #expect(moved == ["a": .string("file:/work/lib")])
  }

  @Test func `a watched table prints changes as lines, or draws itself anew`() {
    func table(_ rows: [(String, String)], columns: Bool) -> ServerTable {
      ServerTable(
        .object([
          "columnDefinitions": .array(columns ? ["Name", "Ready"].map { .object(["name": .string($0)]) } : []),
          "rows": .array(
            rows.map { name, ready in
              .object([
                "cells": .array([.string(name), .string(ready)]),
                "object": .object(["metadata": .object(["name": .string(name)])]),
              ])
            }),
        ]))
    }
    var lines = WatchedTable(table([("greet", "0/1")], columns: true), style: .lines, namespaces: false, wide: false)
    let written = [
      lines.start(), lines.apply(type: "MODIFIED", table([("greet", "1/1")], columns: false)),
      lines.apply(type: "BOOKMARK", table([], columns: false)),
      lines.apply(type: "MODIFIED", table([("greet", "1/1")], columns: false)),
    ]
    #expect(written == ["NAME   READY\ngreet  0/1\n", "greet  1/1\n", "", ""])
    var drawn = WatchedTable(
      table([("greet", "0/1")], columns: true), style: .redraw(lines: 24), namespaces: false, wide: false)
    _ = drawn.start()
    let added = drawn.apply(type: "ADDED", table([("b", "1/1")], columns: false))
    #expect(
      added
        == "\u{1B}[2A\rNAME   READY\u{1B}[K\ngreet  0/1\u{1B}[K\nb      1/1\u{1B}[K\n\u{1B}[J")
    let removed = drawn.apply(type: "DELETED", table([("greet", "")], columns: false))
    #expect(removed.hasPrefix("\u{1B}[3A\rNAME"))
  }

  @Test func `the data folder comes from flag, variable, or who asks`() {
    let none: (String) -> String? = { $0 == "HOME" ? "/home/ada" : nil }
    #expect(DataFolder.choose(flag: "/d/../e/", variables: none, root: true).path == "/e")
    #expect(DataFolder.choose(flag: nil, variables: none, root: true).path == "/var/lib/apus")
    #expect(DataFolder.choose(flag: nil, variables: none, root: false).path == "/home/ada/.local/state/apus")
    #expect(DataFolder.choose(flag: nil, variables: { $0 == "APUS_DATA" ? "/v" : "/x" }, root: true).path == "/v")
  }

  @Test func `a folder that is not there suggests the nearest one with a function`() throws {
    let base = FileManager.default.temporaryDirectory.appending(path: "apus-cli-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: base) }
    try FileManager.default.createDirectory(at: base.appending(path: "greet"), withIntermediateDirectories: true)
    try Data("x".utf8).write(to: base.appending(path: "greet/function.yaml"))
    do {
      _ = try FunctionFolder.read(base.path() + "/gret", env: [:])
      Issue.record("no error")
    } catch {
      #expect(error.message == "no such folder: \(base.path())/gret. Did you mean \(base.path())/greet/ ?")
    }
  }

  @Test func `new writes a template's files once, and again only when forced`() throws {
    let base = FileManager.default.temporaryDirectory.appending(path: "apus-cli-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: base) }
    let folder = base.appending(path: "template")
    try FileManager.default.createDirectory(
      at: folder.appending(path: "Sources/{{name}}"), withIntermediateDirectories: true)
    try Data("metadata:\n  name: x\n".utf8).write(to: folder.appending(path: "function.yaml"))
    try Data("// {{name}}".utf8).write(to: folder.appending(path: "Sources/{{name}}/main.swift"))
    try Data([0xFF, 0x00]).write(to: folder.appending(path: "blob"))
    let template = Template(folder: folder.path(), function: "greet")
    let target = base.path() + "/greet"
    let files = try template.write(to: target, shown: "greet", force: false)
    #expect(files == ["function.yaml", "Sources/greet/main.swift", "blob"])
    #expect(try String(contentsOfFile: target + "/Sources/greet/main.swift", encoding: .utf8) == "// greet")
    #expect(FileManager.default.contents(atPath: target + "/blob") == Data([0xFF, 0x00]))
    #expect(throws: Failure.self) { try template.write(to: target, shown: "greet", force: false) }
    #expect(throws: Never.self) { try template.write(to: target, shown: "greet", force: true) }
  }
}
