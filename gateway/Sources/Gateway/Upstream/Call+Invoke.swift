import ClusterAPI
import NIOCore

/// The answer to an invocation as AWS Lambda's Invoke gives it.
extension Call {
  /// Room for the lines that an invocation's answer has besides.
  static let invokedRoom = 512

  /// Writes the head's first lines. Whatever a function's status is, the invocation went well, and is a 200; a status
  /// that is another is told in `X-Function-Status`, an error in `X-Amz-Function-Error`.
  func writeInvoked(
    _ head: ResponseHead, _ lines: HeadLines, _ source: UnsafeRawBufferPointer, into out: inout ByteWriter
  ) {
    out.put("200 OK\r\n")
    var hasFailed = head.status >= 500
    for field in lines.fields
    where HeaderRules.passesToClient(field.kind)
      && !(head.namesFields && HeaderRules.isNamed(field, lines, source))
    {
      let name = field.name.of(source)
      if ByteScan.equals(name, "x-function-error") || ByteScan.equals(name, "x-amz-function-error") { hasFailed = true }
      // These are written anew.
      let isOurs =
        ByteScan.equals(name, "x-amz-function-error") || ByteScan.equals(name, "x-amz-executed-version")
        || ByteScan.equals(name, "x-amzn-requestid") || ByteScan.equals(name, "x-function-status")
      guard !isOurs else { continue }
      out.put(Span(start: field.name.start, end: field.value.end).of(source))
      out.put("\r\n")
    }
    if hasFailed { out.put("X-Amz-Function-Error: Unhandled\r\n") }
    if head.status != 200 {
      out.put("X-Function-Status: ")
      out.put(decimal: Int64(head.status))
      out.put("\r\n")
    }
    if let revision = record.pod?.endpoint.revision {
      out.put("X-Amz-Executed-Version: ")
      out.put(text: revision)
      out.put("\r\n")
    }
    out.put("X-Amzn-RequestId: ")
    record.text.bytes.withUnsafeReadableBytes { out.put(record.text.call.of($0)) }
    out.put("\r\n")
  }
}
