import Glibc
import PodLinux
import SystemPackage
import Testing

/// Whether the number is an open descriptor of this process.
func isOpen(_ number: Int32) -> Bool {
  var status = stat()
  return fstat(number, &status) == 0
}

/// Both ends of a new pipe, at numbers that nothing else takes meanwhile.
func makePipe() throws -> (reading: Int32, writing: Int32) {
  let ends = try FileDescriptor.pipe(options: .closeOnExec)
  return (ends.readEnd.rawValue, ends.writeEnd.rawValue)
}

@Suite("Owned descriptors")
struct OwnedDescriptorTests {
  /// The end of a pipe tells whether its other end is open, whatever other tests do with numbers.
  private func hasWriter(_ reading: Int32) -> Bool {
    var entry = pollfd(fd: reading, events: Int16(POLLIN), revents: 0)
    return poll(&entry, 1, 0) == 0
  }

  @Test("the owner's end closes the descriptor")
  func closes() throws {
    let (reading, writing) = try makePipe()
    do {
      let owner = OwnedDescriptor(owning: writing)
      #expect(owner.rawValue == writing)
      #expect(hasWriter(reading))
    }
    #expect(!hasWriter(reading))
    close(reading)
  }

  @Test("a released descriptor stays open")
  func releases() throws {
    let (reading, writing) = try makePipe()
    let number = OwnedDescriptor(owning: writing).release()
    #expect(number == writing)
    #expect(hasWriter(reading))
    close(number)
    close(reading)
  }

  @Test("a duplicate is another owner of the same file, close-on-exec")
  func duplicates() throws {
    let (reading, writing) = try makePipe()
    do {
      let copy: OwnedDescriptor
      do {
        let owner = OwnedDescriptor(owning: writing)
        copy = try owner.duplicate()
      }
      #expect(hasWriter(reading))
      #expect(fcntl(copy.rawValue, F_GETFD) == FD_CLOEXEC)
    }
    #expect(!hasWriter(reading))
    close(reading)
  }

  @Test("duplicating a closed descriptor is an error")
  func duplicateOfNothing() {
    #expect(throws: Errno.badFileDescriptor) {
      let owner = OwnedDescriptor(owning: -1)
      _ = try owner.duplicate()
    }
  }
}
