import ClusterTestSupport
import Foundation
import LogIndex

/// Nanoseconds of 2026-11-20T00:00:00Z.
let day: Int64 = 1_795_132_800_000_000_000

/// One record line; `fields` is the inside of the JSON object.
func line(
  _ msg: String, time: Int64 = day, namespace: String = "default", function: String = "hello", level: String = "info",
  stream: String = "stdout", call: String = "", pod: String = "hello-00001-abcde", node: String = "n1",
  fields: String = ""
) -> [UInt8] {
  Array(
    """
    {"time":"\(RecordTime.text(time))","namespace":"\(namespace)","function":"\(function)",\
    "revision":"\(function)-00001",\
    "pod":"\(pod)","node":"\(node)","stream":"\(stream)","level":"\(level)","call":"\(call)","msg":"\(msg)",\
    "fields":{\(fields)}}
    """.utf8)
}

/// The texts of an answer, newest first.
func texts(_ store: LogStore, _ query: LogQuery, scope: LogScope = .all) async throws -> [String] {
  var found: [String] = []
  for try await batch in store.query(query, scope: scope) {
    found += batch.entries.map { String(decoding: $0.bytes, as: UTF8.self) }
  }
  return found
}

/// The messages of an answer, newest first.
func messages(_ store: LogStore, _ query: String = "", scope: LogScope = .all) async throws -> [String] {
  try await texts(store, try LogQuery.parse(query), scope: scope).map {
    try IndexedRecord(Array($0.utf8)).text(.msg)
  }
}

/// A record with values drawn from few, so that random queries hit some.
func randomLine(_ random: inout SeededGenerator) -> [UInt8] {
  let words = [
    "order", "payment", "timeout", "Pay", "payments", "user", "Größe", "uptime", "x-y", "42", "naïve",
    "connection refused",
  ]
  let msg = (0..<Int.random(in: 0...6, using: &random)).map { _ in random.pick(words) }.joined(
    separator: random.pick([" ", ", ", "/"]))
  var fields: [String] = []
  if random.chance(60) {
    fields.append("\"duration_ms\":\(random.pick(["1", "250", "250.0", "2.5e2", "999.5", "1000", "-3", "0"]))")
  }
  if random.chance(30) { fields.append("\"took\":\"\(random.pick(["250ms", "1.5s", "1m30s", "soon", "7"]))\"") }
  if random.chance(40) { fields.append("\"status\":\(random.pick(["200", "404", "500", "\"500\"", "null", "true"]))") }
  if random.chance(30) {
    fields.append("\"user\":{\"name\":\"\(random.pick(["ann", "b\\u00f6b", "", "c c"]))\",\"age\":7}")
  }
  if random.chance(10) { fields.append("\"level\":\"\(random.pick(["own", "error"]))\"") }
  if random.chance(10) { fields.append("\"big\":\(random.pick(["9007199254740993", "9007199254740992"]))") }
  return line(
    msg, time: day + Int64.random(in: 0..<40, using: &random) * random.pick([1, 1_000_000_000, 60_000_000_000]),
    namespace: random.pick(["default", "team-a", ""]), function: random.pick(["hello", "order", "order-2", "a\\nb"]),
    level: random.pick(["trace", "debug", "info", "warn", "error", "fatal", "WARNING", "odd", ""]),
    stream: random.pick(["stdout", "stderr", "access"]), call: random.pick(["", "c-1", "c-2", "c-3"]),
    pod: random.pick(["", "p1", "p2"]), node: random.pick(["n1", "n2"]), fields: fields.joined(separator: ","))
}
