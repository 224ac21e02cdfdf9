import ClusterTestSupport
import Foundation
import Testing

/// Other systems' senders and readers on the log service: Elasticsearch's own Python clients, and curl with what Loki's and
/// OpenTelemetry's senders write.
@Suite("Log adapters")
struct LogAdapterTests {
  /// What one of Elasticsearch's clients does; prints what it found as JSON.
  private static let client = """
    import json, os, sys, warnings
    warnings.simplefilter("ignore")
    import elasticsearch
    from elasticsearch import Elasticsearch, helpers, ApiError, AuthenticationException

    url, token, authority, index = sys.argv[1:5]
    options = {"ca_certs": authority, "request_timeout": 20, "http_compress": True}
    client = Elasticsearch(url, bearer_auth=token, **options)
    found = {"version": elasticsearch.__versionstr__, "ping": client.ping(), "info": client.info()["tagline"]}

    def documents():
        for number in range(500):
            yield {"_index": index, "_source": {
                "@timestamp": f"2026-11-22T08:{number // 60:02}:{number % 60:02}.000Z", "message": f"order {number} paid",
                "level": "error" if number % 50 == 0 else "info", "service": {"name": "shop"},
                "http": {"status": 500 if number % 50 == 0 else 200}, "duration_ms": number}}

    found["bulk"] = helpers.bulk(client, documents(), chunk_size=200)
    one = client.index(index=index, id="mine", document={"message": "alone", "user": "ann"})
    found["one"] = [one["result"], one["_id"], client.indices.exists(index=index).body]
    found["refused"] = [
        item for ok, item in helpers.parallel_bulk(
            client, [{"_op_type": "delete", "_index": index, "_id": "1"}], raise_on_error=False, thread_count=1) if not ok]

    def texts(**given):
        return [hit["_source"]["message"] for hit in client.search(index=index, **given)["hits"]["hits"]]

    newest = client.search(index=index, query={"term": {"level": "error"}}, sort=[{"@timestamp": "desc"}], size=2)
    found["newest"] = [hit["_source"] for hit in newest["hits"]["hits"]]
    found["total"] = newest["hits"]["total"]["value"]
    found["phrase"] = texts(query={"match_phrase": {"message": "order 77 paid"}})
    found["text"] = texts(query={"query_string": {"query": 'level:error AND duration_ms:[100 TO 200]'}})
    found["range"] = texts(query={"bool": {
        "filter": [{"range": {"@timestamp": {"gte": "2026-11-22T08:01:00Z", "lt": "2026-11-22T08:01:02Z"}}},
                   {"exists": {"field": "http.status"}}], "must_not": [{"terms": {"http.status": [500]}}]}})
    found["user"] = [hit["_id"] for hit in client.search(index=index, query={"match": {"user": "ann"}})["hits"]["hits"]]
    after, walked = None, 0
    while True:
        page = client.search(
            index=index, size=150, sort=[{"@timestamp": "asc"}], **({"search_after": after} if after else {}))["hits"]["hits"]
        if not page:
            break
        walked, after = walked + len(page), page[-1]["sort"]
    found["walked"] = walked
    answer = client.search(index=index, size=0, query={"exists": {"field": "http.status"}}, aggs={
        "over_time": {"date_histogram": {"field": "@timestamp", "fixed_interval": "5m"},
                      "aggs": {"codes": {"terms": {"field": "http.status"}}}},
        "slow": {"percentiles": {"field": "duration_ms", "percents": [50, 99]}}})
    buckets = answer["aggregations"]["over_time"]["buckets"]
    found["buckets"] = [[b["doc_count"], [c["key"] for c in b["codes"]["buckets"]]] for b in buckets]
    found["slow"] = answer["aggregations"]["slow"]["values"]
    found["count"] = client.count(index=index)["count"]
    found["indices"] = [row["index"] for row in client.cat.indices(format="json") if row["index"] == index]
    errors = []
    for given in ({"query": {"fuzzy": {"a": "b"}}}, {"query": {"query_string": {"query": "(open"}}}):
        try:
            client.search(index=index, **given)
        except ApiError as error:
            errors.append([error.status_code, error.error])
    for wrong in ({"bearer_auth": "nonsense"}, {"basic_auth": ("any", "nonsense")}):
        try:
            Elasticsearch(url, **wrong, **options).search(index=index)
        except AuthenticationException as error:
            errors.append([error.status_code, error.error])
    found["errors"] = errors
    found["others"] = [
        Elasticsearch(url, **given, **options).count(index=index)["count"]
        for given in ({"basic_auth": ("any", token)}, {"api_key": token}, {"api_key": ("any", token)})]
    print(json.dumps(found))
    """

  private struct Found: Decodable {
    struct Source: Decodable {
      struct Service: Decodable { var name: String }
      var message: String
      var level: String
      var service: Service
      var duration_ms: Int
    }

    var version: String
    var ping: Bool
    var info: String
    var total: Int
    var newest: [Source]
    var phrase: [String]
    var text: [String]
    var range: [String]
    var user: [String]
    var walked: Int
    var slow: [String: Double]
    var count: Int
    var indices: [String]
    var others: [Int]
  }

  /// The token and the authority's certificate of a cluster, as files in its folder.
  private func credentials(_ cluster: TestCluster) async throws -> (token: String, authority: String) {
    let script = """
      import base64, re, sys
      text = open(sys.argv[1]).read()
      value = lambda name: re.search(rf'\\b{name}: "?([^"\\s]+)', text).group(1)
      open("ca.pem", "wb").write(base64.b64decode(value("certificate-authority-data")))
      print(value("token"))
      """
    try cluster.write("credentials.py", script)
    let ran = try await cluster.bash("python3 credentials.py $APUS_KUBECONFIG")
    try #require(ran.status == 0, "\(ran.all)")
    return (ran.output.trimmingCharacters(in: .whitespacesAndNewlines), cluster.work + "/ca.pem")
  }

  @Test("Elasticsearch's Python clients send and search unmodified", .timeLimit(.minutes(4)))
  func elasticsearch() async throws {
    try await TestCluster.with(workers: 1) { cluster in
      let (token, authority) = try await credentials(cluster)
      try cluster.write("client.py", Self.client)
      for (name, version) in [("es8", "elasticsearch>=8.17,<8.18"), ("es9", "elasticsearch>=9,<10")] {
        let installed = try await cluster.bash(
          "/usr/bin/python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --target \(name) "
            + "'\(version)'")
        try #require(installed.status == 0, "\(installed.all)")
        let ran = try await cluster.bash(
          "PYTHONPATH=\(name) /usr/bin/python3 client.py \(cluster.api) \(token) \(authority) app-\(name)")
        try #require(ran.status == 0, "\(ran.all)")
        let found = try JSONDecoder().decode(Found.self, from: Data(ran.output.utf8))
        #expect(found.version.hasPrefix(name.suffix(1)) && found.ping && found.info == "You Know, for Search")
        #expect(ran.output.contains(#""bulk": [500, []]"#) && ran.output.contains(#""one": ["created", "mine", true]"#))
        #expect(ran.output.contains("illegal_argument_exception"), "a delete is refused: \(ran.output)")
        #expect(found.total == 10 && found.newest.map(\.message) == ["order 450 paid", "order 400 paid"])
        #expect(found.newest.first?.service.name == "shop" && found.newest.first?.duration_ms == 450)
        #expect(found.phrase == ["order 77 paid"])
        #expect(found.text == ["order 200 paid", "order 150 paid", "order 100 paid"])
        #expect(found.range == ["order 61 paid", "order 60 paid"])
        #expect(found.user == ["mine"] && found.walked == 501 && found.count == 501)
        #expect(ran.output.contains(#""buckets": [[300, [200, 500]], [200, [200, 500]]]"#), "\(ran.output)")
        #expect(found.slow == ["50.0": 249, "99.0": 494], "\(found.slow)")
        #expect(found.indices == ["app-\(name)"] && found.others == [501, 501, 501])
        for error in [
          #"[400, "parsing_exception"]"#, #"[400, "query_shard_exception"]"#, #"[401, "security_exception"]"#,
        ] { #expect(ran.output.contains(error), "\(error) in \(ran.output)") }
        let lines = try await cluster.apus("logs", "shop", "-n", "3", "--namespace", "app-\(name)", "-o", "json")
        #expect(lines.status == 0 && lines.output.split(separator: "\n").count == 3, "\(lines.all)")
      }
    }
  }

  @Test("Loki's push and OTLP from curl are found by apus logs", .timeLimit(.minutes(2)))
  func pushes() async throws {
    try await TestCluster.with(workers: 1) { cluster in
      let (token, authority) = try await credentials(cluster)
      // An hour of yesterday: the cluster's own records are of now.
      let hour = Int64(Date().timeIntervalSince1970) / 3600 * 3600 - 30 * 3600
      let since = Date(timeIntervalSince1970: Double(hour)).formatted(.iso8601)
      let until = Date(timeIntervalSince1970: Double(hour + 3600)).formatted(.iso8601)
      let second = hour + 1815
      try cluster.write(
        "loki.json",
        #"{"streams":[{"stream":{"job":"nginx","env":"prod"},"values":[["\#(second)250000001","GET /x 200"],"#
          + #"["\#(second)250000002","GET /y 500",{"level":"error"}]]}]}"#)
      try cluster.write(
        "otlp.json",
        #"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"cart"}}]},"#
          + #""scopeLogs":[{"logRecords":[{"timeUnixNano":"\#(second)250000003","severityNumber":13,"#
          + #""body":{"stringValue":"slow"},"traceId":"5b8efff798038103d269b633813fc60c"}]}]}]}"#)
      let curl = "curl -s -w '%{http_code}' --cacert \(authority) -H 'Authorization: Bearer \(token)'"
      let json = "-H 'Content-Type: application/json'"
      func post(_ path: String, _ rest: String) async throws -> String {
        try await cluster.bash("\(curl) \(rest) '\(cluster.api)\(path)'").output
      }
      #expect(try await post("/loki/api/v1/push", "\(json) --data-binary @loki.json") == "204")
      #expect(
        try await post("/loki/api/v1/push", "\(json) -H 'Content-Encoding: gzip' --data-binary @<(gzip -c loki.json)")
          == "204")
      #expect(try await post("/v1/logs", "\(json) --data-binary @otlp.json") == "{}200")
      let protobuf = try await post("/loki/api/v1/push", "-H 'Content-Type: application/x-protobuf' -d x")
      #expect(protobuf.hasSuffix("415") && protobuf.contains("application/json"), "\(protobuf)")
      let otlp = try await post("/v1/logs", "-H 'Content-Type: application/x-protobuf' -d x")
      #expect(otlp.hasSuffix("415") && otlp.contains("encoding: json"), "\(otlp)")
      let wrong = try await post("/loki/api/v1/push", "\(json) -d '{\"streams\":[{}]}'")
      #expect(wrong == "streams[0] has no list `values`\n400", "\(wrong)")
      let none = try await cluster.bash(
        "curl -s -w '%{http_code}' --cacert \(authority) \(json) -d '{}' \(cluster.api)/v1/logs")
      #expect(none.output.hasSuffix("401") && none.output.contains(#""code":16"#), "\(none.output)")

      let nginx = try await cluster.apus("logs", "nginx", "env:prod", "-o", "logfmt")
      #expect(nginx.output.split(separator: "\n").count == 4, "\(nginx.all)")
      #expect(nginx.output.contains("level=error") && nginx.output.contains("msg=\"GET /y 500\""), "\(nginx.output)")
      let cart = try await cluster.apus("logs", "cart", "level:warn", "trace_id:5b8efff798038103d269b633813fc60c")
      #expect(cart.output.contains("WARN  slow"), "\(cart.all)")
      let root = "/apis/apus.dev/v1/namespaces/default/logs"
      let period = "since=\(since)&until=\(until)"
      let histogram = try await post("\(root)/histogram?spans=10&\(period)", "-G").dropLast(3)
      let spans = try #require(try JSONSerialization.jsonObject(with: Data(histogram.utf8)) as? [String: Any])
      let counts = (spans["spans"] as? [[String: Any]])?.compactMap { $0["count"] as? Int } ?? []
      #expect(spans["seconds"] as? Int == 600 && counts == [0, 0, 0, 5, 0, 0], "\(histogram)")
      let facets = try await post("\(root)/facets?fields=level,env&\(period)", "-G")
      let levels = #""level":[{"count":2,"value":"error"},{"count":2,"value":"info"},{"count":1,"value":"warn"}]"#
      #expect(facets.contains(levels) && facets.contains(#"{"count":4,"value":"prod"}"#), "\(facets)")
      let chart = try await cluster.apus(
        "logs", "--since", since, "--until", until, "--histogram", "-A")
      #expect(chart.output.contains("█") && chart.output.contains("2 error") && !chart.output.contains("\u{1B}"))

      // Ended when both are there, by the clock only where they never come.
      async let events = cluster.bash(
        """
        \(curl) -N -m 60 -H 'Accept: text/event-stream' '\(cluster.api)\(root)?follow=true&query=env:prod' > events &
        for try in $(seq 600); do [ $(grep -c '^data: {"time"' events) -ge 2 ] && break; sleep 0.1; done
        kill %%; cat events
        """)
      let told = try await eventually {
        try await cluster.metric("apus_log_tails") >= 1
      }
      #expect(told)
      #expect(try await post("/loki/api/v1/push", "\(json) --data-binary @loki.json") == "204")
      let stream = try await events.output
      #expect(stream.components(separatedBy: "data: {\"time\"").count == 3 && stream.contains("}\n\n"), "\(stream)")
      #expect(try await cluster.metric("apus_log_lines_total", "from=\"loki\"") == 6)
      #expect(try await cluster.metric("apus_log_lines_total", "from=\"otlp\"") == 1)
    }
  }
}
