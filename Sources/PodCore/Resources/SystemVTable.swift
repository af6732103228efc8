extension PathViews.SystemVTable {
  /// The text of the file, as the kernel writes it.
  ///
  /// - Parameter rows: A row for each object, by index: the numbers in the order of the header's columns, `perms` as the
  ///   number that is written in octal. What is missing at a row's end is 0.
  /// - Returns: The header and the rows, each with a newline.
  ///
  /// Source: proc_sysvipc(5); ipc/msg.c, `sysvipc_msg_proc_show`, and the same in sem.c and shm.c, of a 64-bit kernel.
  public func text(_ rows: [[Int64]]) -> [UInt8] {
    var text = Array(header.utf8)
    for row in rows {
      var line = ""
      for (index, width) in widths.enumerated() {
        let number = index < row.count ? row[index] : 0
        let digits = String(number, radix: index == Self.permissions ? 8 : 10)
        line += String(repeating: " ", count: max(0, width - digits.count)) + digits
        // Two spaces stand before the permissions, and before `nattch`.
        if index + 1 < widths.count { line += gaps.contains(index + 1) ? "  " : " " }
      }
      text += Array(line.utf8) + [UInt8(ascii: "\n")]
    }
    return text
  }

  /// The rows of a text of the kernel's, without the header, as ``text(_:)`` takes them.
  package static func rows(of text: [UInt8]) -> [[Int64]] {
    text.split(separator: UInt8(ascii: "\n")).dropFirst().map { line in
      line.split(separator: UInt8(ascii: " ")).enumerated().map { index, digits in
        let radix = index == permissions ? 8 : 10
        return Int64(String(decoding: digits, as: UTF8.self), radix: radix) ?? 0
      }
    }
  }

  /// The text of a table of the kernel's, in which processes have the numbers that the kernel knows them by.
  ///
  /// - Parameters:
  ///   - rows: As ``rows(of:)`` gives them.
  ///   - names: The pod's. Who is none of its processes is 0.
  package func text(translating rows: [[Int64]], _ names: ProcessTable) -> [UInt8] {
    text(
      rows.map { row in
        var row = row
        for column in processes where column < row.count {
          let physical = PhysicalName<ProcessID>(rawValue: Int32(clamping: row[column]))
          row[column] = Int64(names.named(physical)?.rawValue ?? 0)
        }
        return row
      })
  }

  /// The columns with the numbers of processes.
  private var processes: [Int] {
    switch self {
    case .msg: [5, 6]
    case .sem: []
    case .shm: [4, 5]
    }
  }

  private static let permissions = 2

  private var gaps: [Int] { self == .shm ? [Self.permissions, 6] : [Self.permissions] }

  private var header: String {
    switch self {
    case .msg:
      "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime"
        + "      rtime      ctime\n"
    case .sem:
      "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n"
    case .shm:
      "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid"
        + "      atime      dtime      ctime                   rss                  swap\n"
    }
  }

  private var widths: [Int] {
    switch self {
    case .msg: [10, 10, 4, 11, 10, 5, 5, 5, 5, 5, 5, 10, 10, 10]
    case .sem: [10, 10, 4, 10, 5, 5, 5, 5, 10, 10]
    case .shm: [10, 10, 4, 21, 5, 5, 5, 5, 5, 5, 5, 10, 10, 10, 21, 21]
    }
  }
}

extension IPCPermissions {
  /// The columns that all tables begin with: key, id, permissions.
  var firstColumns: [Int64] { [Int64(key), Int64(id), Int64(mode)] }
  /// The columns of the owner and the maker.
  var owners: [Int64] { [user, group, creator, creatorGroup].map { Int64($0) } }
}

extension SystemVObjects {
  /// The rows of the pod's `/proc/sysvipc/msg`.
  ///
  /// Source: ipc/msg.c, `sysvipc_msg_proc_show`.
  var queueRows: [[Int64]] {
    withState { state in
      state.queues.objects.map { queue in
        queue.permissions.firstColumns
          + [
            Int64(clamping: queue.bytes), Int64(clamping: queue.count), Int64(queue.lastSender),
            Int64(queue.lastReceiver),
          ] + queue.permissions.owners + [queue.sendTime, queue.receiveTime, queue.changeTime]
      }
    }
  }

  /// The rows of the pod's `/proc/sysvipc/sem`.
  ///
  /// Source: ipc/sem.c, `sysvipc_sem_proc_show`.
  var setRows: [[Int64]] {
    withState { state in
      state.sets.objects.map { set in
        set.permissions.firstColumns + [Int64(set.semaphores.count)] + set.permissions.owners
          + [set.operationTime, set.changeTime]
      }
    }
  }
}
