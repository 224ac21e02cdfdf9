/// The environment that a program made for Lambda reads.
package struct LambdaEnvironment: Sendable {
  /// The region where the function's own environment names none. SDKs refuse to start without one.
  static let region = "us-east-1"
  static let account = "000000000000"

  /// The function's ARN.
  package let arn: String
  private let all: [String: String]

  /// Made of the pod's own environment; `folder` is where the code is, `api` the Runtime API's host and port.
  package init(pod: [String: String], folder: String, api: String, workers: Int) {
    let function = pod["APUS_FUNCTION"] ?? "function"
    let namespace = pod["APUS_NAMESPACE"] ?? "default"
    let region = pod["AWS_REGION"] ?? pod["AWS_DEFAULT_REGION"] ?? Self.region
    let named = namespace == "default" ? function : "\(function).\(namespace)"
    arn = "arn:aws:lambda:\(region):\(Self.account):function:\(named)"
    var all = pod
    for name in ["APUS_COMMAND", "LISTEN_FDS", "AWS_LAMBDA_MAX_CONCURRENCY"] { all[name] = nil }
    let defaults = [
      "AWS_REGION": region, "AWS_DEFAULT_REGION": region, "AWS_LAMBDA_LOG_FORMAT": "Text", "LANG": "en_US.UTF-8",
      "TZ": ":UTC", "PATH": "/usr/local/bin:/usr/bin:/bin", "LD_LIBRARY_PATH": "\(folder):\(folder)/lib",
      "PYTHONPATH": "\(folder):\(folder)/vendor", "NODE_PATH": "\(folder)/node_modules",
      "_HANDLER": pod["APUS_HANDLER"] ?? "",
    ]
    all.merge(defaults) { own, _ in own }
    let ours = [
      "AWS_LAMBDA_RUNTIME_API": api, "LAMBDA_TASK_ROOT": folder, "LAMBDA_RUNTIME_DIR": folder,
      "AWS_LAMBDA_FUNCTION_NAME": named, "AWS_LAMBDA_FUNCTION_VERSION": pod["APUS_REVISION"] ?? "$LATEST",
      "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": pod["APUS_MEMORY_MIB"] ?? "128",
      "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/\(named)", "AWS_LAMBDA_LOG_STREAM_NAME": pod["APUS_POD"] ?? "pod",
      "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    ]
    all.merge(ours) { _, ours in ours }
    if workers > 1 { all["AWS_LAMBDA_MAX_CONCURRENCY"] = "\(workers)" }
    self.all = all
  }

  /// The value of a variable.
  package subscript(name: String) -> String? { all[name] }

  /// NAME=VALUE, sorted.
  package var entries: [String] { all.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" } }
}
