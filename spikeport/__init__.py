"""Spikeport: spiking networks from training to neuromorphic simulators, exactly.

The public names are listed below and in `__init__.pyi`. Each is loaded on first use, so
`import spikeport` is fast, and torch is needed only for training.

Train a network (needs torch):
    train, train_pareto_front, TrainConfig, TrainingCallbacks, TrainingResult, EpochProgress,
    EpochRecord, Architecture, Augment, ExitConfig, GradientRule, Optimizer, Precision, ParetoPoint
Data sets:
    load_dataset, make_dataset, Dataset, Split, DataConfig, Binning, Layout, PixelGrid, Slicing
Recipes, which describe a whole experiment:
    load_recipe, run_recipe, Recipe, RecipeResult
A network in training, or one of your own:
    SpikingNetwork, from_module, from_ann, Node, LIF, LI, QuantizedReLU
Convert an ANN to integrate-and-fire neurons:
    convert, ConversionConfig, Conversion, ConversionMethod, Shortcuts, TunedThreshold,
    conversion_errors, float_conversion_errors, LayerErrors, RelativeErrors, accuracy_by_steps,
    float_accuracy_by_steps, summarize_errors, ErrorSummary
Converted networks side by side:
    diagnose_conversion, ConversionDiagnosis, NetworkErrors, ErrorLimit
A network of another framework:
    from_norse, from_snntorch, from_spikingjelly, from_sinabs
Train in chip arithmetic:
    prepare_qat, QATNetwork, ChipStage
Measure a trained network:
    evaluate, evaluate_deployed, measure_accuracy, diagnose, Diagnosis, GradientAgreement,
    Independence, LayerActivity, ShuffleTest
Quantize and export:
    quantize, QuantizeConfig, QuantizationResult, QuantizationReport, ConnectionReport,
    InputReport, PopulationReport, TargetReport, TargetChange, export_float, FloatNetwork
Write for other readers of NIR:
    write_nir, portability, Portability, NodeFidelity, Finding, Fidelity
Rules of a step that NIR leaves open:
    Semantics, Discretization, InputGain, IntegratorGain, ResetTiming, StartValue, SynapseOrder
Build a deployed network by hand:
    DeployedNetwork, Input, Coding, Population, ATRLIFPopulation, Reset, Connection, Dense,
    Conv1d, Conv2d, Sparse, SumPool2d, BiasInjection, Readout, ReadoutKind
Run:
    run, run_float, run_native, run_reference, run_networks, run_continuous, run_sharded, run_sweep,
    list_backends, Backend, Stream, StreamState, ResetSchedule, encode_samples, Samples, SampleSet,
    Probe, sample_probes
What a run returns:
    Run, Trace, EventCounts, Counts, Agreement, merge_runs
Compare:
    compare_backends, Comparison, compare_runs, compare_files, TraceComparison, Divergence,
    check_neurons
A comparison as a gate of continuous integration:
    Tolerances, load_tolerances, Gate, GateSuite, GateCase, GateOutcome, write_junit
Check what a backend or chip supports:
    check, TargetCheck, UnsupportedFeature
Map onto the cores of a chip:
    map_network, draw_core_map, CoreMap, Core, Piece, Traffic
The ladder: every stage compared with the previous one:
    run_ladder, run_demo, LadderConfig, Ladder, LadderRow, ParityReport, Accuracy, Criterion,
    Difference, Drift, Limits, SkippedStage
Energy:
    estimate_energy, EnergyReport, Interval, HardwareProfile, load_profile, assumed_counts,
    load_counts
Energy budgets and sweeps:
    write_pareto_front, ParetoFront, BudgetResult, sweep, SweepRow
Read, write and inspect files:
    open_network, inspect_network, draw_graph, FloatFacts, DeployedFacts, load_network,
    save_network, read_nir, read_nir_deployed, read_nir_float, read_netx, write_netx,
    load_checkpoint, save_checkpoint, checkpoint_of, Checkpoint, load_state, save_state,
    record_trace, open_trace, read_trace, TraceHeader, TraceReader, write_ladder,
    write_report
The installation:
    check_installation, Installation, InstallationCheck
Errors, each with a code (docs/errors.md):
    SpikeportError, InputError, OptionError, UnknownNameError, ValueRangeError, SettingsError,
    FileMissingError, FileFormatError, FileVersionError, FileLimitError, NetworkError,
    GraphError, UnstatedError, UnsupportedError, ModuleReadingError, ConversionError,
    SamplesError, LabelsError, DataSetError, TrainingError, EnergyError, OutputError,
    BackendUnavailableError, MissingPackageError, CheckFailedError
Version:
    __version__
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
