;; The arena ends behind the memory.
(module
  (memory (export "memory") 1)
  (func (export "chaperone_init") (param i32) (result i32) (i32.const 65528))
  (func (export "chaperone_score") (param i32) (result i32) (i32.const 0)))
