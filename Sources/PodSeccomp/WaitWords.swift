internal import CLinux
internal import Glibc
internal import PodCore
internal import PodLinux
internal import Synchronization
internal import SystemPackage

/// Words on which threads of a pod sleep until the supervisor wakes them: a file in memory that only the host program writes
/// to, mapped into the processes that need it.
///
/// A thread sleeps by FUTEX_WAIT on a word of its own while that is 0. Whoever wakes it sets the word and calls FUTEX_WAKE, which
/// tells whether somebody slept there: that is the moment at which the thread gets what it waits for. A thread that a signal has
/// taken out of the wait isn't there any more, and one that wasn't there yet, or that job control had stopped, finds the word
/// set and doesn't sleep. Programs of the pod may wake each other there; who is woken for nothing looks and sleeps again.
///
/// Source: futex(2); kernel/futex/waitwake.c, `futex_unqueue`.
final class WaitWords: Sendable {
  private nonisolated(unsafe) let mapping: UnsafeMutableRawPointer
  private let file: OwnedDescriptor
  /// The size of what a process maps, in bytes.
  let size: Int
  private let free = Mutex<(given: Int, back: [Int])>((1, []))
  /// What is at the beginning, by which a mapping is known again.
  let mark = UInt64.random(in: 1 ... .max)

  /// A word, and behind it until when its thread sleeps, by CLOCK_MONOTONIC: two numbers of 64 bits.
  fileprivate static let place = 32
  fileprivate static let limitOffset = 16

  /// So many threads of a pod can wait at one time.
  static let most = 32_768

  /// Makes words for so many threads at a time.
  ///
  /// - Throws: What keeps this machine from having them.
  init(count: Int) throws(Errno) {
    let page = 4096
    // What is at the beginning takes the first place.
    let size = ((count + 1) * Self.place + page - 1) / page * page
    let writing = OwnedDescriptor(
      owning: CLinux_memfd_create(
        "pod-waits", UInt32(CLinux_MFD_ALLOW_SEALING | CLinux_MFD_NOEXEC_SEAL)))
    if writing.rawValue < 0 { throw Errno(rawValue: -writing.rawValue) }
    guard ftruncate(writing.rawValue, size) == 0 else { throw Errno(rawValue: errno) }
    let seals =
      CLinux_F_SEAL_FUTURE_WRITE | CLinux_F_SEAL_SHRINK | CLinux_F_SEAL_GROW | CLinux_F_SEAL_SEAL
    guard
      let mapping = mmap(
        nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, writing.rawValue, 0),
      mapping != MAP_FAILED
    else { throw .noMemory }
    let sealed = CLinux_add_seals(writing.rawValue, Int32(seals))
    let reading = CLinux_open("/proc/self/fd/\(writing.rawValue)", O_RDONLY, 0)
    file = OwnedDescriptor(owning: reading)
    self.mapping = mapping
    self.size = size
    mapping.storeBytes(of: mark, as: UInt64.self)
    if sealed < 0 { throw Errno(rawValue: -sealed) }
    if reading < 0 { throw Errno(rawValue: -reading) }
  }

  deinit { munmap(mapping, size) }

  /// The file, for a process that is to map it.
  var descriptor: Int32 { file.rawValue }

  /// A word that nobody sleeps on; nil when all are taken.
  ///
  /// - Parameter end: Until when its thread sleeps at most.
  func take(until end: (seconds: Int64, nanoseconds: Int64)) -> WaitWord? {
    let index = free.withLock { free -> Int? in
      if let index = free.back.popLast() { return index }
      guard free.given < size / Self.place else { return nil }
      free.given += 1
      return free.given - 1
    }
    guard let index else { return nil }
    (mapping + index * Self.place + Self.limitOffset)
      .storeBytes(of: end.seconds, as: Int64.self)
    (mapping + index * Self.place + Self.limitOffset + 8)
      .storeBytes(of: end.nanoseconds, as: Int64.self)
    set(index, to: 0)
    return WaitWord(self, index)
  }

  private func word(_ index: Int) -> UnsafeMutablePointer<UInt32> {
    (mapping + index * Self.place).assumingMemoryBound(to: UInt32.self)
  }

  fileprivate func giveBack(_ index: Int) { free.withLock { $0.back.append(index) } }

  private func set(_ index: Int, to value: UInt32) {
    CLinux_store_word(word(index), value)
  }

  /// Moves who sleeps there to where it is, which tells whether there is somebody.
  fileprivate func isSleptOn(_ index: Int) -> Bool {
    CLinux_futex_requeue(word(index), word(index)) == 1
  }

  fileprivate func wake(_ index: Int) -> Bool {
    // In this order: who is about to sleep sees it.
    set(index, to: 1)
    return CLinux_futex_wake(word(index), 1) == 1
  }
}

/// The word of one sleep.
final class WaitWord: Sleeper {
  private let words: WaitWords
  private let index: Int
  private let isOver = Atomic<Bool>(false)

  fileprivate init(_ words: WaitWords, _ index: Int) { (self.words, self.index) = (words, index) }

  deinit { end() }

  /// Where it is in the mapping.
  var offset: Int { index * WaitWords.place }
  /// Where its time limit is there, a `timespec`.
  var limitOffset: Int { offset + WaitWords.limitOffset }

  func wake() -> Bool { !isOver.load(ordering: .acquiring) && words.wake(index) }

  var isAsleep: Bool { !isOver.load(ordering: .acquiring) && words.isSleptOn(index) }

  func end() {
    if !isOver.exchange(true, ordering: .acquiringAndReleasing) { words.giveBack(index) }
  }
}
