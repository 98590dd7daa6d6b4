"""Read once, decide in memory, write in waves, prove. Knows no step and no product."""
