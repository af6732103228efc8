# A server with workers that are forked beforehand, threads in each, and a master that replaces, counts and ends them.
require 'socket'
require 'tmpdir'
require 'timeout'

def check(condition, what) = condition || abort("#{caller(1, 1).first}: #{what}")

# Ruby waits by calls with WNOHANG, which natively no signal ends. Where the pod has that limit, they are made again.
def wait2(*process)
  Process.wait2(*process)
rescue Errno::EINTR
  ENV['POD_LIMITS'].to_s.split.include?('interrupted') ? retry : raise
end

Timeout.timeout(50) do
  Dir.mktmpdir('pod-script-') do |directory|
    path = File.join(directory, 'socket')
    reader, writer = IO.pipe
    master = fork do
      Process.setpgrp
      listener = UNIXServer.new(path)
      work = lambda do
        trap(:TERM) { exit! 5 }
        4.times.map { Thread.new { loop { listener.accept.then { |c| c.puts("#{Process.pid} #{Process.ppid}"); c.close } } } }.each(&:join)
      end
      workers = 3.times.map { fork(&work) }
      ending = false
      trap(:TERM) { ending = true; workers.each { |pid| Process.kill(:TERM, pid) } }
      writer.puts workers.join(' ')
      loop do
        pid, status = wait2
        workers.delete(pid)
        writer.puts "#{pid} #{status.exitstatus || -status.termsig}"
        unless ending
          workers << fork(&work)
          # It can have answered, and the master been told to end, before it was in the list.
          Process.kill(:TERM, workers.last) if ending
        end
        break if workers.empty?
      end
      exit! 6
    end
    workers = reader.gets.split.map(&:to_i)
    ask = -> { UNIXSocket.open(path) { |socket| socket.read.split.map(&:to_i) } }
    30.times do
      pid, parent = ask.call
      check(workers.include?(pid) && parent == master, "#{pid} of #{parent}")
    end
    workers.each { |pid| check(Process.getpgid(pid) == master, 'group') }
    Process.kill(:KILL, workers[0])
    check(reader.gets == "#{workers[0]} -9\n", 'killed')
    # The one that replaces it has set its handler when it answers.
    nil while workers.include?(ask.call[0])
    Process.kill(:TERM, master)
    ends = 3.times.map { reader.gets.split }
    check(ends.map(&:last).uniq == ['5'] && (ends.map { |e| e.first.to_i } & workers).size == 2, ends)
    check(wait2(master)[1].exitstatus == 6, 'master')
  end

  # Detached and spawned, in groups; a daemon; signals to itself and to a group.
  thread = Process.detach(spawn('exit 3'))
  check(thread.value.exitstatus == 3 && thread.pid == thread.value.pid, 'detach')
  pid = spawn('sleep 60 & wait', pgroup: true)
  check(Process.getpgid(pid) == pid, 'pgroup')
  Process.kill(:TERM, -pid)
  check(wait2(pid)[1].termsig == 15, 'group killed')
  check(IO.popen(['sh', '-c', 'echo $PPID'], &:read).to_i == Process.pid, 'popen')
  check(!system('kill -USR1 $$') && $?.termsig == Signal.list['USR1'], 'signalled')
  seen = Queue.new
  trap(:USR1) { seen << 1 }
  5.times { Process.kill(:USR1, Process.pid); seen.pop }
  reader, writer = IO.pipe
  wait2(fork { Process.daemon; writer.puts Process.getsid == Process.getpgrp })
  writer.close
  check(reader.read == "true\n", 'daemon')
end
