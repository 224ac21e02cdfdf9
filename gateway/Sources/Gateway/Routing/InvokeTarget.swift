/// The target of `POST /2015-03-31/functions/NAME/invocations`, by which programs made for AWS Lambda call functions.
///
/// NAME is `NAME[.NAMESPACE]`, alone or as the last part of an ARN, whole or partial, with `:$LATEST` behind it or not.
/// A colon may be `%3A` and the dollar `%24`, as clients write them; nothing else is decoded.
extension FunctionTarget {
  private static let invokeLead: StaticString = "/2015-03-31/functions/"
  private static let invokeEnd: StaticString = "/invocations"

  /// The target a path names, its query taken off; nil when it is none of these. What the function sees is `/`.
  static func invocation(_ bytes: UnsafeRawBufferPointer, _ target: Span, pathEnd: Int) -> FunctionTarget? {
    let start = target.start + invokeLead.utf8CodeUnitCount
    let end = pathEnd - invokeEnd.utf8CodeUnitCount
    guard start < end, starts(bytes, target.start, invokeLead),
      ByteScan.same(Span(start: end, end: pathEnd).of(bytes), invokeEnd),
      isLatest(bytes, query: Span(start: pathEnd, end: target.end)),
      let label = label(parts(bytes, Span(start: start, end: end)), bytes)
    else { return nil }
    let dot = label.of(bytes).firstIndex(of: UInt8(ascii: ".")).map { label.start + $0 }
    guard isLabel(bytes, label.start, dot ?? label.end), dot.map({ isLabel(bytes, $0 + 1, label.end) }) ?? true else {
      return nil
    }
    let nothing = Span(start: pathEnd, end: pathEnd)
    return FunctionTarget(
      label: label, dot: dot, prefix: Span(start: target.start, end: pathEnd), rest: nothing, restPath: nothing)
  }

  /// The parts of a name between its colons.
  private static func parts(_ bytes: UnsafeRawBufferPointer, _ name: Span) -> [Span] {
    var parts: [Span] = []
    var start = name.start
    var index = name.start
    while index < name.end {
      let length = colon(bytes, index, name.end)
      if length > 0 {
        parts.append(Span(start: start, end: index))
        start = index + length
      }
      index += max(1, length)
    }
    parts.append(Span(start: start, end: name.end))
    return parts
  }

  /// How many bytes of a colon stand at an offset.
  private static func colon(_ bytes: UnsafeRawBufferPointer, _ index: Int, _ end: Int) -> Int {
    if bytes[index] == UInt8(ascii: ":") { return 1 }
    guard index + 3 <= end else { return 0 }
    return ByteScan.equals(Span(start: index, end: index + 3).of(bytes), "%3a") ? 3 : 0
  }

  /// Which part is the name: `NAME`, `ACCOUNT:function:NAME`, `arn:aws:lambda:REGION:ACCOUNT:function:NAME`, each with a
  /// version behind it or not. The account and the region are anybody's: there is one cluster here.
  private static func label(_ parts: [Span], _ bytes: UnsafeRawBufferPointer) -> Span? {
    let place: Int
    switch parts.count {
    case 1, 2: place = 0
    case 3, 4: place = 2
    case 7, 8: place = 6
    default: return nil
    }
    if place > 0, !ByteScan.same(parts[place - 1].of(bytes), "function") { return nil }
    if place == 6,
      !(ByteScan.same(parts[0].of(bytes), "arn") && ByteScan.starts(parts[1].of(bytes), "aws")
        && ByteScan.same(parts[2].of(bytes), "lambda"))
    {
      return nil
    }
    if parts.count == place + 2, !isLatest(parts[place + 1].of(bytes)) { return nil }
    return parts[place]
  }

  /// Versions are not chosen by callers: the only one is the newest.
  private static func isLatest(_ text: UnsafeRawBufferPointer) -> Bool {
    ByteScan.same(text, "$LATEST") || ByteScan.same(text, "%24LATEST")
  }

  private static func isLatest(_ bytes: UnsafeRawBufferPointer, query: Span) -> Bool {
    let text = query.of(bytes)
    guard !text.isEmpty else { return true }
    for pair in text.dropFirst().split(separator: UInt8(ascii: "&")) {
      let pair = UnsafeRawBufferPointer(rebasing: pair)
      if ByteScan.starts(pair, "qualifier="), !isLatest(UnsafeRawBufferPointer(rebasing: pair[10...])) { return false }
    }
    return true
  }
}
