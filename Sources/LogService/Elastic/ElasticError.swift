internal import ClusterAPI
internal import ClusterModel
internal import LogIndex

/// An error as Elasticsearch's clients read it.
struct ElasticError: Error, Equatable {
  /// The HTTP status.
  var status: Int
  /// What programs tell it by, such as `parsing_exception`.
  var type: String
  /// A sentence for people.
  var reason: String

  init(_ status: Int, _ type: String, _ reason: String) {
    self.status = status
    self.type = type
    self.reason = reason
  }

  /// 400: a body that cannot be read.
  static func parsing(_ reason: String) -> ElasticError { ElasticError(400, "parsing_exception", reason) }

  /// 400: something that can be read and is not done here, with what to write instead.
  static func unsupported(_ reason: String) -> ElasticError { ElasticError(400, "illegal_argument_exception", reason) }

  /// 400: a query that means nothing.
  init(_ error: LogQueryError) {
    self.init(400, "query_shard_exception", "failed to create query: \(error.message); \(error.hint)")
  }

  /// An error of the rest of the log API. A full disk is 429, as Elasticsearch's own: its clients send again.
  init(_ status: APIStatus) {
    let type: String
    switch status.code {
    case 401, 403: type = "security_exception"
    case 404: type = "resource_not_found_exception"
    case 406, 415: type = "media_type_header_exception"
    case 413: type = "content_too_long_exception"
    case 429: type = "es_rejected_execution_exception"
    case 507: type = "cluster_block_exception"
    case 400..<500: type = "illegal_argument_exception"
    case 503: type = "process_cluster_event_timeout_exception"
    default: type = "exception"
    }
    self.init(status.code == 507 ? 429 : status.code, type, status.message)
  }

  /// What stands below `error`.
  var cause: JSONValue { .object(["type": .string(type), "reason": .string(reason)]) }

  /// The whole body.
  var body: JSONValue {
    .object([
      "error": .object([
        "type": .string(type), "reason": .string(reason), "root_cause": .array([cause]),
      ]),
      "status": .int(Int64(status)),
    ])
  }
}
