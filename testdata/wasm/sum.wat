;; The smallest useful scorer: a row's score is the sum of its columns plus the sum of the request's fields.
(module
  (memory (export "memory") 2)
  (global $arena i32 (i32.const 1024))

  (func (export "chaperone_init") (param $bytes i32) (result i32)
    (if (i32.gt_u (i32.add (global.get $arena) (local.get $bytes)) (i32.const 131072))
      (then (return (i32.const 0))))
    (global.get $arena))

  (func (export "chaperone_score") (param $rows i32) (result i32)
    (local $row i32) (local $column i32) (local $sum f64) (local $base f64) (local $field i32)
    ;; request fields lie between request_offset and scores_offset
    (local.set $field (i32.load offset=20 (global.get $arena)))
    (block $fields_done
      (loop $fields
        (br_if $fields_done (i32.ge_u (local.get $field) (i32.load offset=24 (global.get $arena))))
        (local.set $base (f64.add (local.get $base) (f64.load (i32.add (global.get $arena) (local.get $field)))))
        (local.set $field (i32.add (local.get $field) (i32.const 8)))
        (br $fields)))
    (block $done
      (loop $rows
        (br_if $done (i32.ge_u (local.get $row) (local.get $rows)))
        (local.set $sum (local.get $base))
        (local.set $column (i32.const 0))
        (block $columns_done
          (loop $columns
            (br_if $columns_done (i32.ge_u (local.get $column) (i32.load offset=12 (global.get $arena))))
            (local.set $sum (f64.add (local.get $sum)
              (f64.load (i32.add (i32.add (global.get $arena) (i32.load offset=16 (global.get $arena)))
                (i32.shl (i32.add (i32.mul (local.get $column) (i32.load offset=8 (global.get $arena))) (local.get $row))
                  (i32.const 3))))))
            (local.set $column (i32.add (local.get $column) (i32.const 1)))
            (br $columns)))
        (f64.store
          (i32.add (i32.add (global.get $arena) (i32.load offset=24 (global.get $arena))) (i32.shl (local.get $row) (i32.const 3)))
          (local.get $sum))
        (local.set $row (i32.add (local.get $row) (i32.const 1)))
        (br $rows)))
    (i32.const 0)))
