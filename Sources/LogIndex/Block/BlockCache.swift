internal import Synchronization

/// Keeps the blocks that were read last open, within a bound on their bytes.
final class BlockCache: Sendable {
  private struct Held {
    var block: Block
    var used: Int
  }

  private struct State {
    var blocks: [String: Held] = [:]
    var bytes = 0
    var clock = 0
  }

  private let bytesMaximum: Int
  private let state = Mutex(State())

  init(bytesMaximum: Int) { self.bytesMaximum = bytesMaximum }

  func block(_ name: String) -> Block? {
    state.withLock { state in
      state.clock += 1
      state.blocks[name]?.used = state.clock
      return state.blocks[name]?.block
    }
  }

  /// Keeps a block; those not used for longest give way.
  func keep(_ block: Block, _ name: String) {
    state.withLock { state in
      state.clock += 1
      if state.blocks.updateValue(Held(block: block, used: state.clock), forKey: name) == nil {
        state.bytes += block.bytes.count
      }
      while state.bytes > bytesMaximum, state.blocks.count > 1,
        let oldest = state.blocks.min(by: { $0.value.used < $1.value.used })
      {
        state.blocks[oldest.key] = nil
        state.bytes -= oldest.value.block.bytes.count
      }
    }
  }

  func forget(_ name: String) {
    state.withLock { state in
      if let held = state.blocks.removeValue(forKey: name) { state.bytes -= held.block.bytes.count }
    }
  }
}
