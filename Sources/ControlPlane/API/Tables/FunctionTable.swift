internal import ClusterModel

extension TableForm {
  /// NAME RUNTIME READY IN-FLIGHT CALLS P50 P99 COLD P99 AGE; wide: REVISION SOURCE.
  static let function = TableForm(
    columns: [
      .objectName, Column("Runtime", "how its code is started"), Column("Ready", "pods ready of pods wanted"),
      Column("In-Flight", type: "integer", "calls running now"), Column("Calls", type: "integer", "calls so far"),
      Column("P50", "median duration over 5 minutes"), Column("P99", "99th percentile over 5 minutes"),
      Column("Cold P99", "99th percentile of the last 100 cold starts"), .age,
      Column("Revision", wide: true, "the revision that takes traffic"),
      Column("Source", wide: true, "the digest of the package or image"),
    ],
    cells: { object, now in
      let figures = object.at(path: "status.figures")
      let ready = object.at(path: "status.readyPods")?.intValue ?? 0
      let wanted = object.at(path: "status.wantedPods")?.intValue ?? 0
      let revision = object.text("status.servingRevision") ?? object.text("status.latestRevision").map { "(\($0))" }
      return [
        .string(object.text("metadata.name") ?? ""), .string(object.text("spec.runtime") ?? ""),
        .string("\(ready)/\(wanted)"), .int(figures?["inFlight"]?.intValue ?? 0),
        .int(figures?["calls"]?.intValue ?? 0),
        .string(HumanText.milliseconds(figures?["p50Milliseconds"]?.numberValue)),
        .string(HumanText.milliseconds(figures?["p99Milliseconds"]?.numberValue)),
        .string(HumanText.milliseconds(figures?["coldP99Milliseconds"]?.numberValue)),
        .string(HumanText.age(object.at(path: "metadata.creationTimestamp"), at: now)), .string(revision ?? "-"),
        .string(shortDigest(codeDigest(object, "spec"))),
      ]
    })

  /// The digest of the package or of the image below a path.
  static func codeDigest(_ object: JSONValue, _ path: String) -> String? {
    object.text("\(path).source.digest")
      ?? object.text("\(path).image").flatMap { $0.split(separator: "@").dropFirst().first.map(String.init) }
  }

  /// A digest's first twelve digits; `-` without one.
  static func shortDigest(_ digest: String?) -> String {
    guard let digest else { return "-" }
    let hex = digest.hasPrefix("sha256:") ? digest.dropFirst(7) : digest[...]
    return String(hex.prefix(12))
  }
}
