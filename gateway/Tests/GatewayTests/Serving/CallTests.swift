import ClusterAPI
import NIOCore
import NIOEmbedded
import Testing

@testable import Gateway

@Suite struct CallTests {
  @Test func `a request of which no byte was taken waits for its next chance`() throws {
    let stage = try CallStage(deadSocket: true)
    stage.send()
    #expect(stage.client.errors == [])
    #expect(stage.dispatcher.figures.queued == 1)
    #expect(stage.dispatcher.figures.inFlight == 0)
    #expect(stage.pool.idleCount(PodKey(uid: "a", incarnation: 1)) == 0)
  }

  @Test func `a request that no pod ever read is not said to have taken the function's time`() throws {
    let stage = try CallStage(deadSocket: true)
    stage.send()
    stage.call.checkTime(stage.call.totalDue)
    #expect(stage.client.errors == [.queueTimeout])
    #expect(stage.dispatcher.figures.queued == 0)
    let read = try CallStage(deadSocket: false)
    read.send()
    read.call.checkTime(read.call.totalDue)
    #expect(read.client.errors == [.functionTimeout])
  }

  @Test func `a request that was taken may have run, and is not sent again`() throws {
    let stage = try CallStage(deadSocket: false)
    stage.send()
    #expect(stage.dispatcher.figures.inFlight == 1)
    stage.channel.close(promise: nil)
    stage.loop.run()
    #expect(stage.client.errors == [.podCrashed])
    #expect(stage.dispatcher.figures.queued == 0)
    #expect(stage.dispatcher.figures.inFlight == 0)
  }

  @Test func `an idempotent one is`() throws {
    let stage = try CallStage(deadSocket: false, idempotent: true)
    stage.send()
    stage.channel.close(promise: nil)
    stage.loop.run()
    #expect(stage.client.errors == [])
    #expect(stage.dispatcher.figures.queued == 1)
  }

  @Test func `not after the first byte of the answer`() throws {
    let stage = try CallStage(deadSocket: false, idempotent: true)
    stage.send()
    try stage.channel.writeInbound(ByteBuffer(string: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"))
    #expect(stage.client.answers.first?.hasPrefix("HTTP/1.1 200 OK\r\n") == true)
    stage.channel.close(promise: nil)
    stage.loop.run()
    #expect(stage.client.aborted == 1 && stage.client.ended == 0)
    #expect(stage.dispatcher.figures.queued == 0)
  }

  @Test func `an answered connection goes back to the pool with its slot`() throws {
    let stage = try CallStage(deadSocket: false)
    stage.send()
    try stage.channel.writeInbound(ByteBuffer(string: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    stage.loop.run()
    #expect(stage.client.ended == 1 && stage.client.errors.isEmpty)
    #expect(stage.client.answers.first?.hasSuffix("\r\n\r\nok") == true)
    #expect(stage.dispatcher.figures.inFlight == 0)
    #expect(stage.pool.idleCount(PodKey(uid: "a", incarnation: 1)) == 1)
    stage.channel.close(promise: nil)
    stage.loop.run()
    #expect(stage.pool.idleCount(PodKey(uid: "a", incarnation: 1)) == 0)
  }

  @Test func `a start of a pod that takes nothing more has no idle connections, and none come back`() throws {
    let stage = try CallStage(deadSocket: false)
    stage.pool.retire(PodKey(uid: "a", incarnation: 1), abort: false)
    stage.loop.run()
    #expect(!stage.channel.isActive)
    let busy = try CallStage(deadSocket: false)
    busy.send()
    busy.dispatcher.endpointChanged(makeEndpoint("a", .draining))
    try busy.channel.writeInbound(ByteBuffer(string: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    busy.loop.run()
    #expect(busy.client.ended == 1)
    #expect(!busy.channel.isActive)
    #expect(busy.pool.idleCount(PodKey(uid: "a", incarnation: 1)) == 0)
  }

  @Test func `a slot stays taken while the pod holds an abandoned call`() throws {
    let stage = try CallStage(deadSocket: false)
    stage.send()
    stage.call.checkTime(.max)
    #expect(stage.client.errors == [.functionTimeout])
    #expect(stage.dispatcher.figures.inFlight == 1)
    stage.channel.close(promise: nil)
    stage.loop.run()
    #expect(stage.dispatcher.figures.inFlight == 0)
  }
}
