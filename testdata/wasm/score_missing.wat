;; There is no chaperone_score, and no memory.
(module
  (func (export "chaperone_init") (param i32) (result i32) (i32.const 1024)))
