import ClusterTestSupport
import Foundation
import Testing

/// Functions made for AWS Lambda, unchanged: AWS's own runtime client and SDK from PyPI, and a bootstrap of the public
/// contract.
@Suite("Lambda")
struct LambdaTests {
  private static let app = """
    import json, os, time

    print("loaded", os.environ["AWS_LAMBDA_FUNCTION_NAME"])

    def handler(event, context):
        print("event", json.dumps(event))
        if event.get("fail"):
            raise KeyError("asked to fail")
        if "ms" in event:
            time.sleep(event["ms"] / 1000)
        if event.get("exit"):
            os._exit(event["exit"])
        return {
            "event": event, "id": context.aws_request_id, "arn": context.invoked_function_arn,
            "left": context.get_remaining_time_in_millis(), "uid": os.getuid(), "pid": os.getpid(),
            "custom": context.client_context.custom if context.client_context else None,
        }
    """

  /// What boto3 does with the gateway for an endpoint; prints what it found as JSON.
  private static let client = """
    import base64, json, sys
    import boto3
    from botocore.config import Config
    from botocore.exceptions import ClientError

    client = boto3.client(
        "lambda", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="any",
        aws_session_token=sys.argv[2] if len(sys.argv) > 2 else None,
        config=Config(retries={"max_attempts": 0}, read_timeout=20))
    found = {}

    def invoke(name, function="ric", **given):
        try:
            answer = client.invoke(FunctionName=function, **given)
            found[name] = {
                "status": answer["StatusCode"], "error": answer.get("FunctionError"),
                "version": answer.get("ExecutedVersion"), "id": answer["ResponseMetadata"].get("RequestId"),
                "payload": answer["Payload"].read().decode()}
        except ClientError as error:
            found[name] = {"code": error.response["Error"]["Code"], "message": error.response["Error"]["Message"]}

    context = base64.b64encode(json.dumps({"custom": {"from": "boto3"}}).encode()).decode()
    invoke("plain", Payload=json.dumps({"name": "Ada"}), ClientContext=context)
    invoke("arn", "arn:aws:lambda:us-east-1:000000000000:function:ric", Payload=b"{}")
    invoke("qualified", Payload=b"{}", Qualifier="$LATEST")
    invoke("failed", Payload=json.dumps({"fail": True}))
    invoke("event", InvocationType="Event", Payload=json.dumps({"later": 1}))
    invoke("dry", InvocationType="DryRun")
    invoke("missing", "none")
    invoke("python", "plain", Payload=b"Ada")
    invoke("python-failed", "plain", Payload=b"fail")
    invoke("slow", "quick", Payload=json.dumps({"ms": 3000}))
    print(json.dumps(found))
    """

  private struct Found: Decodable {
    var status: Int?
    var error: String?
    var version: String?
    var id: String?
    var payload: String?
    var code: String?
    var message: String?
  }

  private struct Answer: Decodable {
    var id: String
    var arn: String
    var left: Int
    var uid: Int
    var custom: [String: String]?
  }

  private func decode<T: Decodable>(_ type: T.Type, _ text: String?) throws -> T {
    try JSONDecoder().decode(T.self, from: Data((text ?? "").utf8))
  }

  @Test("awslambdaric and boto3 run unmodified", .timeLimit(.minutes(4)))
  func clients() async throws {
    try await TestCluster.with(workers: 1) { cluster in
      for (name, spec) in [("ric", "concurrency: 1"), ("many", "concurrency: 4"), ("quick", "timeout: 1s")] {
        try cluster.write("\(name)/app.py", Self.app)
        try cluster.write("\(name)/requirements.txt", "awslambdaric\n")
        let lambda = "runtime: lambda\n  handler: app.handler\n  resources: {memory: 256Mi}\n  \(spec)"
        try cluster.write("\(name)/function.yaml", TestCluster.manifest(name, lambda))
      }
      let plain =
        "def handle(event, context):\n    if event.text == 'fail': raise ValueError('no')\n    return event.text\n"
      let deployed = try await cluster.apus("deploy", "ric", "many", "quick", limit: 240)
      try #require(deployed.status == 0, "\(deployed.all)")
      #expect(try await cluster.deployPython("plain", plain).status == 0)
      let installed = try await cluster.bash(
        "/usr/bin/python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --target boto boto3")
      try #require(installed.status == 0, "\(installed.all)")
      try cluster.write("client.py", Self.client)

      let ran = try await cluster.bash("PYTHONPATH=boto /usr/bin/python3 client.py \(cluster.gateway)")
      try #require(ran.status == 0, "\(ran.all)")
      let found = try decode([String: Found].self, ran.output)
      let first = try #require(found["plain"])
      #expect(first.status == 200 && first.error == nil && first.version == "ric-00001", "\(first)")
      let answer = try decode(Answer.self, first.payload)
      #expect(answer.id == first.id && answer.arn == "arn:aws:lambda:us-east-1:000000000000:function:ric")
      #expect((1...30_000).contains(answer.left) && answer.uid != 0 && answer.custom == ["from": "boto3"])
      for name in ["arn", "qualified"] {
        #expect(found[name]?.status == 200, "\(name): \(String(describing: found[name]))")
      }
      let failed = try #require(found["failed"])
      #expect(failed.status == 200 && failed.error == "Unhandled")
      #expect(failed.payload?.contains("\"errorType\": \"KeyError\"") == true, "\(failed)")
      #expect(failed.payload?.contains("stackTrace") == true)
      #expect(found["event"]?.status == 202 && found["dry"]?.status == 204)
      #expect(
        found["missing"]?.code == "ResourceNotFoundException" && found["missing"]?.message?.contains("none") == true)
      #expect(found["python"]?.payload == "Ada" && found["python"]?.error == nil)
      #expect(found["python-failed"]?.status == 200 && found["python-failed"]?.error == "Unhandled")
      #expect(found["slow"]?.error == "Unhandled" && found["slow"]?.payload?.contains("Sandbox.Timedout") == true)
      #expect(
        try await eventually {
          try await cluster.bash("apus logs ric --since 1h").output.contains(#"event {"later": 1}"#)
        })
      try await multiple(cluster)
      try await logs(cluster)
    }
  }

  /// Four at once, each in a process of its own, as AWS_LAMBDA_MAX_CONCURRENCY says.
  private func multiple(_ cluster: TestCluster) async throws {
    let ran = try await cluster.bash(
      """
      curl -s -o /dev/null -d '{}' \(cluster.url("many"))
      for i in 1 2 3 4; do curl -s -w '\\n' -d '{"ms": 1500}' \(cluster.url("many")) & done; wait
      """)
    let pids = Set(ran.output.matches(of: /"pid": (\d+)/).map { String($0.1) })
    #expect(pids.count == 4, "\(ran.all)")
  }

  /// An error is a 500 to an ordinary caller, with its trace in the log, and a crash ends the pod only.
  private func logs(_ cluster: TestCluster) async throws {
    let failed = try await cluster.bash(
      "curl -s -i -d '{\"fail\": true}' -H 'X-Call-Id: broken-1' \(cluster.url("ric"))")
    #expect(failed.output.contains("500") && failed.output.contains(#""code":"function_failed""#), "\(failed.all)")
    #expect(!failed.output.contains("stackTrace"))
    #expect(
      try await eventually {
        let log = try await cluster.bash("apus logs --call broken-1")
        return log.output.contains("KeyError") && log.output.contains("asked to fail")
      })
    let crashed = try await cluster.bash("curl -s -d '{\"exit\": 9}' \(cluster.url("ric"))")
    #expect(crashed.output.contains("the runtime exited with status 9"), "\(crashed.all)")
    let again = try await cluster.bash("curl -s -d '{}' \(cluster.url("ric"))")
    #expect(again.output.contains("\"arn\""), "\(again.all)")
  }

  @Test("a bootstrap of a few lines runs, and who serves it is the pod's own user", .timeLimit(.minutes(2)))
  func bootstrap() async throws {
    try await TestCluster.with(workers: 1) { cluster in
      try cluster.write(
        "own/bootstrap",
        """
        #!/usr/bin/env python3
        import json, os, urllib.request
        api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/"
        while True:
            with urllib.request.urlopen(api + "invocation/next") as event:
                id, body = event.headers["Lambda-Runtime-Aws-Request-Id"], event.read()
            owners = {os.stat(f"/proc/{pid}").st_uid for pid in os.listdir("/proc") if pid.isdigit()}
            if body.startswith(b"/"):
                with urllib.request.urlopen(os.environ["APUS_GATEWAY"] + body.decode(), b"Ada") as answer:
                    urllib.request.urlopen(api + f"invocation/{id}/response", answer.read())
                continue
            told = {"uid": os.getuid(), "owners": sorted(owners), "root": os.environ["LAMBDA_TASK_ROOT"], "got": len(body)}
            urllib.request.urlopen(api + f"invocation/{id}/response", json.dumps(told).encode())

        """)
      try cluster.write(
        "own/function.yaml",
        TestCluster.manifest("own", "runtime: lambda\n  resources: {memory: 64Mi}\n  egress: cluster"))
      let refused = try await cluster.apus("deploy", "own")
      #expect(refused.status != 0 && refused.all.contains("chmod +x"), "\(refused.all)")
      let deployed = try await cluster.bash("chmod +x own/bootstrap && apus deploy own")
      try #require(deployed.status == 0, "\(deployed.all)")
      let ran = try await cluster.bash("curl -s -d 12345 \(cluster.url("own"))")
      struct Told: Decodable {
        var uid: Int
        var owners: [Int]
        var root: String
        var got: Int
      }
      let told = try decode(Told.self, ran.output)
      #expect(told.uid != 0 && told.root == "/function" && told.got == 5)
      // Whoever serves the API runs as the function does.
      #expect(told.owners.allSatisfy { $0 == told.uid || $0 == 0 }, "\(told)")
      let sample = try await cluster.bash("apus deploy \(TestCluster.root)/functions/samples/hello-lambda")
      #expect(sample.status == 0, "\(sample.all)")
      #expect(try await cluster.bash("curl -s -d Ada \(cluster.url("hello-lambda"))").output == "Hello, Ada!")
      // Its way to other functions is the pod's, whoever serves it the API.
      let near = try await cluster.bash("curl -s -d /function/hello-lambda \(cluster.url("own"))").output
      #expect(near == "Hello, Ada!")
    }
  }
}
