from .comparison import TraceComparison as TraceComparison
from .comparison import compare_files as compare_files
from .comparison import compare_runs as compare_runs
from .divergence import Divergence as Divergence
from .divergence import first_divergence as first_divergence
from .reader import open_trace as open_trace
from .reader import read_trace as read_trace
from .writer import trace_writer as trace_writer
