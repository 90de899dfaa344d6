"""Simulators: reference, native and float NIR."""
