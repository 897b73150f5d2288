;; Wants a table of 100 million elements.
(module
  (memory (export "memory") 1)
  (table 100000000 funcref)
  (func (export "chaperone_init") (param i32) (result i32) (i32.const 1024))
  (func (export "chaperone_score") (param i32) (result i32) (i32.const 0)))
