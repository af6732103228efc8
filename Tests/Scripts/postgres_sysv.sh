# PostgreSQL as above, with all that its processes share in System V segments.
settings='shared_memory_type = sysv
dynamic_shared_memory_type = sysv'
. "$(dirname "$0")/postgres.sh"
