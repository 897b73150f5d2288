;; Stateful: counts the attempts that it is told of and adds up the second column of them; scores every row with
;; count * 1000 + sum. A NaN in the second column is left out of the sum; -1 in it traps. Saves both numbers, and restores
;; 16 bytes and nothing else. With -1 in the first column of rows chaperone_score traps.
(module
  (memory (export "memory") 1)
  (global $arena i32 (i32.const 1024))
  (global $count (mut f64) (f64.const 0))
  (global $sum (mut f64) (f64.const 0))

  (func (export "chaperone_init") (param i32) (result i32) (global.get $arena))

  (func $column (param $i i32) (result i32)
    (i32.add (i32.add (global.get $arena) (i32.load offset=16 (global.get $arena)))
      (i32.mul (local.get $i) (i32.shl (i32.load offset=8 (global.get $arena)) (i32.const 3)))))

  (func (export "chaperone_observe") (param $rows i32) (result i32)
    (local $row i32) (local $value f64)
    (loop $next
      (local.set $value (f64.load (i32.add (call $column (i32.const 1)) (i32.shl (local.get $row) (i32.const 3)))))
      (if (f64.eq (local.get $value) (f64.const -1)) (then unreachable))
      (global.set $count (f64.add (global.get $count) (f64.const 1)))
      (if (f64.eq (local.get $value) (local.get $value))
        (then (global.set $sum (f64.add (global.get $sum) (local.get $value)))))
      (br_if $next (i32.lt_u (local.tee $row (i32.add (local.get $row) (i32.const 1))) (local.get $rows))))
    (i32.const 0))

  (func (export "chaperone_save") (result i64)
    (f64.store (i32.const 64) (global.get $count))
    (f64.store (i32.const 72) (global.get $sum))
    (i64.const 0x4000000010))

  (func (export "chaperone_restore") (param $length i32) (result i32)
    (if (i32.ne (local.get $length) (i32.const 16)) (then (return (i32.const 2))))
    (global.set $count (f64.load (global.get $arena)))
    (global.set $sum (f64.load offset=8 (global.get $arena)))
    (i32.const 0))

  (func (export "chaperone_score") (param $rows i32) (result i32)
    (local $row i32)
    (if (f64.eq (f64.load (call $column (i32.const 0))) (f64.const -1)) (then unreachable))
    (loop $next
      (f64.store
        (i32.add (i32.add (global.get $arena) (i32.load offset=24 (global.get $arena))) (i32.shl (local.get $row) (i32.const 3)))
        (f64.add (f64.mul (global.get $count) (f64.const 1000)) (global.get $sum)))
      (br_if $next (i32.lt_u (local.tee $row (i32.add (local.get $row) (i32.const 1))) (local.get $rows))))
    (i32.const 0)))
