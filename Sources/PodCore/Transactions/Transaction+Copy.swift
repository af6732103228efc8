public import SystemPackage

extension Transaction {
  /// Gives the kernel a copy of a structure, made once and in memory that the program can't change.
  ///
  /// - Parameters:
  ///   - index: The argument that points to the structure. A null pointer is left to the kernel.
  ///   - byteCount: The structure's size.
  ///   - edit: Translates what is in it.
  /// - Throws: `.badAddress` when the structure can't be read, and what `edit` throws.
  public mutating func passCopy(
    ofArgument index: Int, byteCount: Int,
    edit: (UnsafeMutableRawBufferPointer, inout Transaction) throws(Errno) -> Void
  ) throws(Errno) {
    let address = RemoteAddress(rawValue: arguments[index])
    if address.isNull { return }
    let scratch = try withUnsafeTemporaryAllocation(byteCount: byteCount, alignment: 16) {
      buffer throws(Errno) -> RemoteAddress in
      try host.read(address, into: buffer)
      try edit(buffer, &self)
      return try host.scratch(UnsafeRawBufferPointer(buffer))
    }
    physicalArguments[index] = scratch.rawValue
  }
}
