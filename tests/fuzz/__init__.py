"""A fuzzer for everything that Spikeport reads: `python -m tests.fuzz --minutes 10`.

Valid files of every kind (`kinds`) are damaged in ways that know their structure (`mutations`) and
read in processes of their own (`worker`). What must hold of each (`driver`):

    the file is refused with one `SpikeportError`, or read
    reading ends within HANG_S seconds and takes less than PEAK_BYTES more memory
    of kinds with a digest, what is read of a file is what was written
    of the others, what is read can be written and read again, and is then the same
"""
