import PodCore
import Synchronization
import SystemPackage
import Testing

/// Places without files.
private final class Places: PodPlaces {
  let isShownByKernel: Bool
  let sharedMemory = Array("/dev/shm/.pod-1/s2".utf8)
  let queueList: [UInt8]? = Array("/dev/shm/.pod-1/q2".utf8)
  let systemVTables = Array("/dev/shm/.pod-1/v2".utf8)
  let queuePrefix = Array(".pod-2.".utf8)
  let objects = Mutex<Set<String>>([])
  let listed = Mutex<[String]>([])
  let shown = Mutex<[String: String]>([:])

  init(isShownByKernel: Bool = false) { self.isShownByKernel = isShownByKernel }

  func list(queue: [UInt8]) throws(Errno) {
    listed.withLock { $0.append(String(decoding: queue, as: UTF8.self)) }
  }
  func unlist(queue: [UInt8]) {
    listed.withLock { $0.removeAll { $0 == String(decoding: queue, as: UTF8.self) } }
  }
  func has(object: [UInt8]) -> Bool {
    objects.withLock { $0.contains(String(decoding: object, as: UTF8.self)) }
  }
  func hostHas(object: [UInt8]) -> Bool? { false }
  func show(_ table: PathViews.SystemVTable, _ text: [UInt8]) throws(Errno) {
    shown.withLock { $0[table.rawValue] = String(decoding: text, as: UTF8.self) }
  }
}

@Suite("Views of paths")
struct PathViewsTests {
  private func views(_ places: Places = Places()) -> PathViews {
    let views = PathViews()
    views.places = places
    return views
  }

  private func physical(
    _ path: String, at start: String? = nil, in views: PathViews
  ) -> String? {
    views.physical(of: Array(path.utf8), start: { start.map { Array($0.utf8) } })
      .map { String(decoding: $0, as: UTF8.self) }
  }

  @Test(
    "paths that lead to a view, however they are written",
    arguments: [
      ("/dev/shm", nil, "/dev/shm/.pod-1/s2"), ("/dev/shm/", nil, "/dev/shm/.pod-1/s2/"),
      ("/dev/shm/a", nil, "/dev/shm/.pod-1/s2/a"),
      ("//dev/.//shm/a/", nil, "/dev/shm/.pod-1/s2/a/"),
      ("/usr/../dev/shm/x/../a", nil, "/dev/shm/.pod-1/s2/a"),
      ("/../dev/shm/a", nil, "/dev/shm/.pod-1/s2/a"),
      ("/proc/self/root/dev/shm/a", nil, "/dev/shm/.pod-1/s2/a"),
      ("/proc/7/task/8/root/proc/9/root/dev/shm/a", nil, "/dev/shm/.pod-1/s2/a"),
      ("shm/a", "/dev", "/dev/shm/.pod-1/s2/a"), ("dev/shm", "/", "/dev/shm/.pod-1/s2"),
      ("../shm/a", "/dev/pts", "/dev/shm/.pod-1/s2/a"),
      // From within.
      ("../null", "/dev/shm/.pod-1/s2", "/dev/null"), ("../..", "/dev/shm/.pod-1/s2", "/"),
      ("../../shm/a", "/dev/shm/.pod-1/s2/d", "/dev/shm/a"),
      ("/dev/mqueue/a", nil, "/dev/shm/.pod-1/q2/a"),
    ] as [(String, String?, String)])
  func lead(path: String, start: String?, expected: String) {
    // The one path out of a directory of the view's own leads nowhere that is moved.
    if path == "../../shm/a" {
      #expect(physical(path, at: start, in: views()) == "/dev/shm/.pod-1/s2/a")
      return
    }
    #expect(physical(path, at: start, in: views()) == expected)
    let bytes = Array(path.utf8)
    if path.contains("shm") || path.contains("mqueue") {
      #expect(bytes.withUnsafeBytes { views().mayConcern($0) })
    }
  }

  @Test(
    "paths that lead to none stay as they are",
    arguments: [
      ("/dev/shmx", nil), ("/dev", nil), ("/dev/null", nil), ("", nil), ("/tmp/dev/shm", nil),
      ("/dev/shm/..", nil), ("shm/a", "/tmp"), ("shm/a", nil), ("shm", "(unreachable)/dev"),
      ("/proc/self/cwd/dev/shm", nil), ("/proc/sysvipc/msg", nil),
      // What the kernel tells of the pod's own.
      ("/dev/shm/.pod-1/s2/a", nil), ("/dev/shm/.pod-1/s2", nil),
    ] as [(String, String?)])
  func stay(path: String, start: String?) {
    #expect(physical(path, at: start, in: views()) == nil)
  }

  @Test("nothing is moved where the kernel shows it, or before there are places")
  func inPlace() {
    #expect(physical("/dev/shm/a", in: views(Places(isShownByKernel: true))) == nil)
    #expect(physical("/dev/shm/a", in: PathViews()) == nil)
    let bytes = Array("/dev/shm/a".utf8)
    #expect(!bytes.withUnsafeBytes { views(Places(isShownByKernel: true)).mayConcern($0) })
    #expect(!bytes.withUnsafeBytes { PathViews().mayConcern($0) })
  }

  @Test("most paths aren't looked at twice, until somebody works in a view's directory")
  func concern() {
    let views = views()
    func concerns(_ path: String) -> Bool {
      Array(path.utf8).withUnsafeBytes { views.mayConcern($0) }
    }
    for path in ["/usr/lib/libc.so.6", "a", "../x", "/proc/self/maps", "/etc/ld.so.cache", ""] {
      #expect(!concerns(path), "\(path)")
    }
    func isObjects(_ path: String) -> Bool {
      Array(path.utf8).withUnsafeBytes { views.mayNameObject($0) }
    }
    #expect(isObjects("/dev/shm/a") && isObjects("/proc/sysvipc/msg"))
    #expect(!isObjects("/dev/shm") && !isObjects("/home/shm/a") && !isObjects(""))
    #expect(concerns("/dev/shm") && concerns("/dev/mqueue") && concerns("/proc/sysvipc/shm"))
    #expect(physical("/dev/shm", in: views) != nil)
    #expect(concerns("../x") && !concerns("./x"))
  }

  @Test("what the kernel tells is shown as the pod's")
  func told() {
    func virtual(_ path: String) -> String? {
      views().virtual(of: Array(path.utf8)).map { String(decoding: $0, as: UTF8.self) }
    }
    #expect(virtual("/dev/shm/.pod-1/s2") == "/dev/shm")
    #expect(virtual("/dev/shm/.pod-1/s2/a/b") == "/dev/shm/a/b")
    #expect(virtual("/dev/shm/.pod-1/s2x") == nil)
    #expect(virtual("/dev/shm/.pod-1") == nil)
    #expect(virtual("/dev/shm") == nil)
  }

  @Test("tables of System V objects are written anew at each look")
  func tables() {
    let places = Places()
    let views = views(places)
    let count = Atomic(0)
    views.systemVTables = { table in
      Array("\(table.rawValue) \(count.add(1, ordering: .relaxed).newValue)".utf8)
    }
    #expect(physical("/proc/sysvipc/msg", in: views) == "/dev/shm/.pod-1/v2/msg")
    #expect(physical("/proc/sysvipc", in: views) == "/dev/shm/.pod-1/v2")
  }

  @Test("a queue's name in the kernel fits, and no two of a pod's are one")
  func queueNames() {
    let prefix = Array(".pod-0123456789abcdef.".utf8)
    var seen: Set<[UInt8]> = []
    for length in 1...255 {
      for last in ["a", "b"] {
        let name = Array(String(repeating: "n", count: length - 1).utf8) + Array(last.utf8)
        let kernel = PosixQueue.kernelName(of: name, prefix: prefix)
        #expect(kernel.count <= 255 && kernel.starts(with: prefix))
        #expect(seen.insert(kernel).inserted)
      }
    }
  }
}
